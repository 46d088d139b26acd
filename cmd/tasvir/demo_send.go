package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// demoStudies are the first limit demo studies, all for 0.
func demoStudies(now time.Time, limit int) []*phantom.Study {
	studies := phantom.DemoStudies(now)
	if limit > 0 && limit < len(studies) {
		studies = studies[:limit]
	}
	return studies
}

// sendStudy sends a generated study as its modality would: one association,
// one C-STORE per instance.
func sendStudy(ctx context.Context, address string, study *phantom.Study) error {
	label := fmt.Sprintf("  %-10s %-24s", study.CallingAE, study.Description)
	total := study.Count()
	var client *dimse.Client
	defer func() {
		if client != nil {
			client.Close()
		}
	}()
	// On a terminal the line grows in place; elsewhere only its end is printed.
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	started, shown, sent := time.Now(), time.Time{}, 0
	for instance, err := range study.Instances() {
		if err != nil {
			return err
		}
		if client == nil {
			contexts := dimse.GroupContexts([]dimse.Kind{{SOPClassUID: instance.SOPClassUID, TransferSyntaxUID: instance.TransferSyntaxUID}})[0].Contexts
			client, err = dimse.Dial(ctx, address, dimse.Dialer{CallingAE: study.CallingAE, CalledAE: "TASVIR", Contexts: contexts})
			if err != nil {
				return fmt.Errorf("%s can't associate: %w", study.CallingAE, err)
			}
		}
		status, err := client.Store(ctx, dimse.StoreItem{
			SOPClassUID: instance.SOPClassUID, SOPInstanceUID: instance.SOPInstanceUID, TransferSyntaxUID: instance.TransferSyntaxUID,
			Data: bytes.NewReader(instance.Dataset()),
		})
		if err != nil {
			return fmt.Errorf("%s: %w", study.CallingAE, err)
		}
		if !status.OK() {
			return fmt.Errorf("%s: the archive answered %s", study.CallingAE, status)
		}
		sent++
		if terminal && time.Since(shown) > 200*time.Millisecond {
			shown = time.Now()
			fmt.Printf("\r%s %4d/%d images", label, sent, total)
		}
	}
	if terminal {
		fmt.Print("\r")
	}
	fmt.Printf("%s %4d/%d images  %.1f s\n", label, sent, total, time.Since(started).Seconds())
	if client == nil {
		return nil
	}
	return client.Release(ctx)
}
