package s3_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/storage/s3"
)

func TestParseURL(t *testing.T) {
	own := map[string]string{
		"TASVIR_S3_ACCESS_KEY": "a", "TASVIR_S3_SECRET_KEY": "s",
		"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "x",
	}
	aws := map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
	for _, c := range []struct {
		url  string
		env  map[string]string
		want s3.Config
		err  string // a part of it
	}{
		{
			url:  "s3://packs/tashkent/1?endpoint=minio:9000&insecure=true&region=uz-1",
			env:  own,
			want: s3.Config{Endpoint: "minio:9000", Insecure: true, Region: "uz-1", Bucket: "packs", Prefix: "tashkent/1", AccessKey: "a", SecretKey: "s"},
		},
		{
			url:  "s3://packs/",
			env:  aws,
			want: s3.Config{Endpoint: "s3.amazonaws.com", Bucket: "packs", AccessKey: "a", SecretKey: "s", SessionToken: "t"},
		},
		{url: "s3://packs", env: nil, err: "TASVIR_S3_ACCESS_KEY"},
		{url: "s3://packs", env: map[string]string{"TASVIR_S3_ACCESS_KEY": "a"}, err: "TASVIR_S3_SECRET_KEY"},
		{url: "s3://key:secret@packs", env: own, err: "must not hold credentials"},
		{url: "s3://packs/../x", env: own, err: "prefix"},
		{url: "s3://packs/" + strings.Repeat("x", 201), env: own, err: "prefix"},
		{url: "s3://packs?endpoint=http://minio:9000", env: own, err: "HOST"},
		{url: "s3://packs?insecure=maybe", env: own, err: "insecure=true"},
		{url: "s3://packs?unsafe=1", env: own, err: "unknown setting"},
		{url: "s3:packs", env: own, err: "must look like"},
		{url: "file:///packs", env: own, err: "must look like"},
		{url: "s3://packs?%zz", env: own, err: "must look like"},
		{url: "", env: own, err: "must look like"},
	} {
		got, err := s3.ParseURL(c.url, func(name string) string { return c.env[name] })
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want one with %q", c.url, err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "secret@") {
				t.Errorf("%s: the error repeats the secret: %v", c.url, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.url, diff)
		}
	}
}
