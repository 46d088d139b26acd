package associations

import (
	"encoding/json"
	"sync/atomic"
	"time"
)

// Bounds of what waits to be written.
const (
	queueLength = 4096
	queueBytes  = 16 << 20
)

// row is an entry as it is written; the names are the table's columns.
type row struct {
	Began     time.Time       `json:"began"`
	Seconds   float64         `json:"seconds"`
	Direction Direction       `json:"direction"`
	Calling   string          `json:"calling"`
	Called    string          `json:"called"`
	Peer      string          `json:"peer"`
	Address   string          `json:"address"`
	Outcome   Outcome         `json:"outcome"`
	Code      string          `json:"code"`
	Reason    string          `json:"reason"`
	Times     int             `json:"times"`
	Instances int             `json:"instances"`
	Failed    int             `json:"failed"`
	Bytes     int64           `json:"bytes"`
	Detail    json.RawMessage `json:"detail"`
}

// queue holds rows, encoded.
type queue struct {
	rows    chan json.RawMessage
	bytes   atomic.Int64
	dropped atomic.Int64
}

// put hands an entry to the writer, or drops it when there is no room.
func (l *Log) put(e *Entry) {
	detail, err := json.Marshal(e.Detail)
	var encoded []byte
	if err == nil {
		encoded, err = json.Marshal(row{
			Began: e.Began, Seconds: e.Duration.Seconds(), Direction: e.Direction, Calling: e.Calling, Called: e.Called, Peer: e.peer(),
			Address: e.Address, Outcome: e.Outcome, Code: e.Code, Reason: e.Reason, Times: max(e.Times, 1),
			Instances: e.Instances, Failed: e.Failed, Bytes: e.Bytes, Detail: detail,
		})
	}
	size := int64(len(encoded))
	if err != nil || l.waiting.bytes.Add(size) > queueBytes {
		l.waiting.bytes.Add(-size)
		l.waiting.dropped.Add(1)
		return
	}
	select {
	case l.waiting.rows <- encoded:
	default:
		l.waiting.bytes.Add(-size)
		l.waiting.dropped.Add(1)
	}
}

// Dropped is how many entries got lost because the database took none for too
// long, or too many strangers knocked.
func (l *Log) Dropped() int64 { return l.waiting.dropped.Load() }
