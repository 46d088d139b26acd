package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// association opens one with our own sender, which tells when each instance
// was acknowledged.
func association(ctx context.Context, s system, kind dimse.Kind) (*dimse.Client, error) {
	address, aet := s.dicom()
	return dimse.Dial(ctx, address, dimse.Dialer{
		CallingAE: "BENCH", CalledAE: aet, Contexts: dimse.GroupContexts([]dimse.Kind{kind})[0].Contexts,
	})
}

// store sends one instance and returns when it was acknowledged.
func store(ctx context.Context, client *dimse.Client, kind dimse.Kind, sop string, data io.Reader) (time.Time, error) {
	status, err := client.Store(ctx, dimse.StoreItem{
		SOPClassUID: kind.SOPClassUID, SOPInstanceUID: sop, TransferSyntaxUID: kind.TransferSyntaxUID, Data: data,
	})
	if err == nil && !status.OK() {
		err = fmt.Errorf("C-STORE of %s: %s", sop, status)
	}
	return time.Now(), err
}

// sendStudy sends instances of one study on an association of their own, pause
// after each, and reports when each was acknowledged.
func sendStudy(ctx context.Context, s system, instances []instance, pause time.Duration, acknowledged func(time.Time)) error {
	kind := instances[0].kind()
	client, err := association(ctx, s, kind)
	if err != nil {
		return err
	}
	defer client.Close()
	for k := range instances {
		i := &instances[k]
		when, err := store(ctx, client, kind, i.sop, io.MultiReader(bytes.NewReader(i.header), bytes.NewReader(i.pixels)))
		if err != nil {
			return err
		}
		acknowledged(when)
		if pause > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
		}
	}
	return client.Release(ctx)
}

// study is a new study of the first n instances, in memory.
func (c *corpus) study(r *recipe, n int) []instance {
	c.variants++
	var list []instance
	for k := range r.instances[:min(n, len(r.instances))] {
		list = append(list, r.instances[k].variant(c.variants))
	}
	return list
}
