package publish

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// manifestName and metadataName are the members of a pack that are not
// instances. Neither is a UID, so they can't collide with one.
const (
	manifestName = "manifest.json.gz"
	metadataName = "metadata.json.gz"
)

// Manifest is the pack's member manifest.json.gz: what the index knows of the
// instances that is not in the instances themselves. Together they are enough
// to rebuild the index.
type Manifest struct {
	Format    int             `json:"format"` // 1
	Facility  string          `json:"facility"`
	Study     string          `json:"study"`
	Series    string          `json:"series"`
	Instances []ManifestEntry `json:"instances"`
}

// ManifestEntry describes one instance of a pack, in member order.
type ManifestEntry struct {
	SOPInstanceUID string `json:"sop"`
	Version        int    `json:"version"`
	// Member is the name of its member; MemberName knows what "" stands for.
	Member string `json:"member,omitempty"`
	// Superseded: a later version was current when the pack was written, and
	// metadata.json.gz is without this one.
	Superseded bool      `json:"superseded,omitempty"`
	SHA256     string    `json:"sha256"` // of the data set without file meta, hexadecimal
	Sender     string    `json:"sender,omitempty"`
	Remote     string    `json:"remote,omitempty"`
	Channel    string    `json:"channel"`
	Charset    string    `json:"charset,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
	// Correction is what an administrator said of an instance that was in
	// quarantine: whose it is stands in for what the data set says.
	Correction *pacs.Correction `json:"correction,omitempty"`
	// PixelsDeleted is set when the member is what was received without its
	// pixel data (strip.go); SHA256 is then that of the member as it is.
	PixelsDeleted *pacs.PixelDeletion `json:"pixels_deleted,omitempty"`
	// Compressed is set when the member is a compressed copy of what was
	// received (mergecompress.go); SHA256 is then that of the member as it is.
	Compressed *pacs.Compression `json:"compressed,omitempty"`
}

// received is the hash by which an instance is known whose member has the hash
// kept. e may be nil: the manifest is lost.
func (e *ManifestEntry) received(kept []byte) []byte {
	if e != nil {
		if sum := pacs.ReceivedSHA256(kept, e.PixelsDeleted, e.Compressed); sum != nil {
			return sum
		}
	}
	return kept
}

// MemberName is the name of the pack's member that holds the instance.
func (e ManifestEntry) MemberName() string {
	if e.Member != "" {
		return e.Member
	}
	return e.SOPInstanceUID + ".dcm"
}

// encode makes the member of a pack, and the text that the pack's key follows
// from.
func (m *Manifest) encode() (_ member, text []byte, err error) {
	if text, err = json.MarshalIndent(m, "", " "); err != nil {
		return member{}, nil, err
	}
	var content bytes.Buffer
	w := gzip.NewWriter(&content)
	_, err = w.Write(text)
	err = errors.Join(err, w.Close()) // what is still inside comes out here
	return inMemory(manifestName, content.Bytes()), text, err
}

// longestManifest bounds what is allocated for a manifest: some 400 bytes an
// instance.
const longestManifest = 64 << 20

// decodeManifest reads the content of the member.
func decodeManifest(content []byte) (*Manifest, error) {
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, longestManifest+1))
	if err != nil {
		return nil, err
	}
	if len(text) > longestManifest {
		return nil, fmt.Errorf("it has more than %d bytes", longestManifest)
	}
	m := &Manifest{}
	return m, json.Unmarshal(text, m)
}
