package publish

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// TestReadersDuringMerges: readers never see a gap, an error or other bytes.
func TestReadersDuringMerges(t *testing.T) {
	t.Parallel()
	const rounds = 15
	m := newMerging(t)
	var images []image
	content := map[string]string{}
	add := func() {
		i := image{number: 100 - len(images)}
		images = append(images, i)
		content[i.withDefaults().sop] = string(i.encoded(t))
		m.pack(i)
	}
	add()
	add()
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	least := len(images)
	var readers sync.WaitGroup
	reads := 0
	read := func() error {
		mu.Lock()
		want := least
		mu.Unlock()
		list, _, err := m.index.Instances(ctx, pacs.System("test"), pacs.InstanceFilter{})
		if err != nil {
			return err
		}
		if len(list) < want {
			return fmt.Errorf("%d instances, there were %d already", len(list), want)
		}
		for _, in := range list {
			// A range within, as frames are, from a place found before.
			from := in.Location.DatasetOffset
			body, err := m.packs.Open(ctx, in.Location, from, -1)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(body)
			_ = body.Close()
			if err != nil {
				return err
			}
			mu.Lock()
			same := content[in.SOPInstanceUID] == string(got)
			mu.Unlock()
			if !same {
				return fmt.Errorf("%s: other bytes", in.SOPInstanceUID)
			}
		}
		meta, err := m.packs.Metadata(ctx, pacs.System("test"), "1.2.3", "1.2.3.1")
		if err != nil {
			return err
		}
		packed, err := io.ReadAll(meta.Body)
		_ = meta.Body.Close()
		if err != nil {
			return err
		}
		text, err := gunzip(packed)
		if n := strings.Count(text, `"00080018"`); err != nil || n < want {
			return fmt.Errorf("metadata of %d instances, there were %d already: %w", n, want, err)
		}
		mu.Lock()
		reads++
		mu.Unlock()
		return nil
	}
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := read(); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range rounds {
		m.merge()
		mu.Lock()
		next := image{number: 100 - len(images)}
		content[next.withDefaults().sop] = string(next.encoded(t))
		mu.Unlock()
		images = append(images, next)
		m.pack(next)
		mu.Lock()
		least = len(images)
		mu.Unlock()
	}
	m.merge()
	stop()
	readers.Wait()
	if m.merged != rounds+1 || reads == 0 {
		t.Errorf("%d merges, %d reads", m.merged, reads)
	}
}
