package dicomweb

import (
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// pixelsDeleted is the error for who asks for what a retention policy has
// deleted, nil when it has not: 410 Gone (PS3.18 Table 10.4.3-1), with when and
// why, rather than a file that looks like a broken image.
func pixelsDeleted(i pacs.Instance) error {
	d := i.PixelsDeleted
	if d == nil {
		return nil
	}
	return pacs.Errorf(pacs.NotFound, "The pixel data of instance %s were deleted on %s under the retention policy %q. Its metadata are kept.",
		i.SOPInstanceUID, d.At.Format(time.DateOnly), d.Policy).WithReason("pixels_deleted", "")
}
