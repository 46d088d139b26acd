package archive

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// feed answers who follows the archive.
type feed struct {
	index   *index.Index
	closing <-chan struct{}
	waiting atomic.Int64
}

func (f *feed) register(r gin.IRouter) {
	r.GET("/changes", web.Require(access.ChangesRead), web.Handle(f.list))
}

const (
	defaultChanges = 200
	maxWait        = 60 * time.Second
	// maxWaiting is how many may wait at once; to others "nothing new" is told
	// straight away.
	maxWaiting = 256
	// lookAgain is the pause between two looks for a change. No notification
	// would do: a change also becomes visible when some other, older
	// transaction ends.
	lookAgain = 500 * time.Millisecond
)

type changeJSON struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	At        time.Time `json:"at"`
	Facility  string    `json:"facility"`
	StudyUID  string    `json:"study_uid,omitempty"`
	SeriesUID string    `json:"series_uid,omitempty"`
	Instances int       `json:"instances,omitempty"`
	Patient   string    `json:"patient,omitempty"`
	Into      string    `json:"into,omitempty"`
}

func (f *feed) list(c *gin.Context) error {
	scope := web.Identity(c).Scope
	limit := queryNumber(c, "limit", defaultChanges, 1, index.MaxChanges)
	wait := time.Duration(queryNumber(c, "wait", 0, 0, int(maxWait/time.Second))) * time.Second
	if wait > 0 {
		if f.waiting.Add(1) > maxWaiting {
			wait = 0
		}
		defer f.waiting.Add(-1)
	}
	until := time.NewTimer(wait)
	defer until.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for place, last := c.Query("after"), wait == 0; ; {
		changes, next, err := f.index.Changes(c.Request.Context(), scope, place, limit)
		if err != nil {
			return err
		}
		if len(changes) > 0 || last {
			list := make([]changeJSON, len(changes))
			for i, change := range changes {
				list[i] = changeJSON{
					ID: change.Position, Kind: change.Kind, At: change.At, Facility: change.Facility,
					StudyUID: change.StudyUID, SeriesUID: change.SeriesUID, Instances: change.Instances,
					Patient: rowText(change.Patient), Into: rowText(change.Into),
				}
			}
			c.JSON(http.StatusOK, gin.H{"changes": list, "next": next})
			return nil
		}
		place = next
		select {
		case <-again.C:
		case <-until.C:
			last = true
		case <-f.closing:
			last = true
		case <-c.Request.Context().Done():
			return c.Request.Context().Err()
		}
	}
}

// queryNumber reads a number from the query; what is no number is otherwise,
// and what is out of bounds the nearest that is in.
func queryNumber(c *gin.Context, name string, otherwise, least, most int) int {
	n, err := strconv.Atoi(c.Query(name))
	if err != nil {
		return otherwise
	}
	return min(max(n, least), most)
}

// rowText is the number of a row as the API gives it, "" for none.
func rowText(row int64) string {
	if row == 0 {
		return ""
	}
	return strconv.FormatInt(row, 10)
}
