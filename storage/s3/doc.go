// Package s3 keeps objects in a bucket of MinIO, or of anything else that
// speaks S3, through minio-go.
//
// A store is named by a URL, see [ParseURL]:
//
//	s3://bucket/prefix?endpoint=minio.example:9000&insecure=true&region=us-east-1
//
// The credentials never stand in the URL, which ends up in logs and process
// lists; they come from the environment.
//
// # What goes over the wire
//
// Every upload has a known length and a CRC-32C that the server checks. Up to
// 16 MiB go in one request, more in parts of 16 MiB; each request is built
// from memory, so it can be repeated when the network or the server fails. A
// Put therefore costs at most about 16 MiB whatever the body is. minio-go's
// upload of unknown length is never used: it takes more than 500 MB per upload
// and truncates silently past ten thousand parts.
package s3
