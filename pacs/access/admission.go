package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Admission is what receiving must know about senders. It answers from memory;
// a file beside the journal keeps it over a restart, so that a stopped
// database never makes a modality fail. Safe for concurrent use.
type Admission struct {
	path    string
	current atomic.Pointer[snapshot]

	refresh sync.Mutex // one Refresh at a time
	saved   int64      // the version on disk; 0 until the first Refresh, which always writes

	mu   sync.Mutex
	seen map[string]time.Time // AE titles that called since the last Refresh
}

// snapshot is the file's content.
type snapshot struct {
	Format  int               `json:"format"`
	Version int64             `json:"version"` // admission_version.n; 0: never filled
	Devices []admittedDevice  `json:"devices"`
	byTitle map[string]Device // of Devices
}

// admittedDevice is what a connection of a device can ask about. Files of
// versions that knew fewer fields stay valid: Services absent are
// DefaultServices.
type admittedDevice struct {
	AETitle          string    `json:"ae_title"`
	Facility         string    `json:"facility"`
	FacilityID       int64     `json:"facility_id,omitempty"`
	Host             string    `json:"host,omitempty"`
	Port             int       `json:"port,omitempty"`
	Services         []Service `json:"services"`
	Destination      bool      `json:"destination,omitempty"`
	AllFacilities    bool      `json:"all_facilities,omitempty"`
	TransferSyntaxes []string  `json:"transfer_syntaxes,omitempty"`
	Charset          string    `json:"charset,omitempty"`
	AnswerCharset    string    `json:"answer_charset,omitempty"`
	TLS              bool      `json:"tls,omitempty"`
	TLSServerName    string    `json:"tls_server_name,omitempty"`
	Certificate      string    `json:"certificate,omitempty"`
	MaxFrom          int       `json:"max_associations_from,omitempty"`
	MaxTo            int       `json:"max_associations_to,omitempty"`
}

func admittedOf(d Device) admittedDevice {
	return admittedDevice{
		AETitle: d.AETitle, Facility: d.FacilityCode, FacilityID: d.FacilityID, Host: d.Host, Port: d.Port, Services: d.Services,
		Destination: d.Destination, AllFacilities: d.AllFacilities, TransferSyntaxes: d.TransferSyntaxes, Charset: d.Charset,
		AnswerCharset: d.AnswerCharset, TLS: d.TLS, TLSServerName: d.TLSServerName, Certificate: d.Certificate,
		MaxFrom: d.MaxAssociationsFrom, MaxTo: d.MaxAssociationsTo,
	}
}

func (d admittedDevice) device() Device {
	services := d.Services
	if services == nil {
		services = DefaultServices()
	}
	return Device{
		AETitle: d.AETitle, FacilityCode: d.Facility, FacilityID: d.FacilityID, Host: d.Host, Port: d.Port, Services: services,
		Destination: d.Destination, AllFacilities: d.AllFacilities, TransferSyntaxes: d.TransferSyntaxes, Charset: d.Charset,
		AnswerCharset: d.AnswerCharset, TLS: d.TLS, TLSServerName: d.TLSServerName, Certificate: d.Certificate,
		MaxAssociationsFrom: d.MaxFrom, MaxAssociationsTo: d.MaxTo,
	}
}

const snapshotFormat = 1

// OpenAdmission loads what the last Refresh left at path. A file that is
// absent or can't be read leaves nobody known until the first Refresh; a
// damaged one is set aside as path.damaged and logged.
func OpenAdmission(path string) (*Admission, error) {
	ad := &Admission{path: path, seen: map[string]time.Time{}}
	ad.current.Store(&snapshot{Format: snapshotFormat})
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The folder for the list of known devices can't be made")
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ad, nil
	}
	if err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The list of known devices can't be read. Give the server's user access to "+path)
	}
	var loaded snapshot
	if err := json.Unmarshal(data, &loaded); err != nil || loaded.Format != snapshotFormat {
		slog.Warn("The kept list of known devices is damaged; senders are refused until the database answers", "file", path, "error", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, pacs.Wrap(pacs.Invalid, err, "The damaged list of known devices can't be set aside")
		}
		return ad, nil
	}
	loaded.fill()
	ad.current.Store(&loaded)
	return ad, nil
}

func (s *snapshot) fill() {
	s.byTitle = make(map[string]Device, len(s.Devices))
	for _, d := range s.Devices {
		s.byTitle[d.AETitle] = d.device()
	}
}

// Lookup finds a device by the AE title it calls with; leading and trailing
// spaces don't count (PS3.8 9.3.2). It never waits for the database. That the
// device was seen is noted and written by a later Refresh.
func (ad *Admission) Lookup(aeTitle string) (Device, bool) {
	device, ok := ad.current.Load().byTitle[strings.Trim(aeTitle, " ")]
	if ok {
		ad.mu.Lock()
		ad.seen[device.AETitle] = time.Now() // bounded by the number of devices
		ad.mu.Unlock()
	}
	return device, ok
}

// Len is the number of known devices.
func (ad *Admission) Len() int { return len(ad.current.Load().Devices) }

// Refresh copies the devices from the database to memory and disk if they
// changed, and writes to the database which ones called meanwhile. On an
// error what was known stays in force.
func (ad *Admission) Refresh(ctx context.Context, a *Access) error {
	ad.refresh.Lock()
	defer ad.refresh.Unlock()
	if err := ad.writeSeen(ctx, a); err != nil {
		return err
	}
	next := snapshot{Format: snapshotFormat}
	var devices []Device
	err := pgx.BeginTxFunc(ctx, a.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		if err := tx.QueryRow(ctx, `SELECT n FROM admission_version`).Scan(&next.Version); err != nil || next.Version == ad.saved {
			return err
		}
		devices, err = devicesWhere(ctx, tx, `true ORDER BY d.ae_title`)
		return err
	})
	if err != nil {
		return failure(err)
	}
	if next.Version == ad.saved {
		return nil
	}
	for _, d := range devices {
		next.Devices = append(next.Devices, admittedOf(d))
	}
	next.fill()
	// Memory first: a full disk is no reason to refuse a device just added.
	ad.current.Store(&next)
	if err := writeSnapshot(ad.path, &next); err != nil {
		return pacs.Wrap(pacs.OutOfResources, err, "The list of known devices can't be kept on disk")
	}
	ad.saved = next.Version
	return nil
}

// Run refreshes every interval until ctx ends, and once more then. Failures
// are logged when they begin and when they end.
func (ad *Admission) Run(ctx context.Context, a *Access, interval time.Duration, log *slog.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failing := false
	for {
		err := ad.Refresh(ctx, a)
		if ctx.Err() == nil && (err != nil) != failing {
			failing = err != nil
			if failing {
				log.Warn("The list of known devices is not up to date; receiving goes on with the last one", "devices", ad.Len(), "error", err)
			} else {
				log.Info("The list of known devices is up to date again", "devices", ad.Len())
			}
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = ad.Refresh(last, a)
			return
		case <-tick.C:
		}
	}
}

func (ad *Admission) writeSeen(ctx context.Context, a *Access) error {
	ad.mu.Lock()
	seen := ad.seen
	ad.seen = map[string]time.Time{}
	ad.mu.Unlock()
	if len(seen) == 0 {
		return nil
	}
	titles := slices.Sorted(maps.Keys(seen))
	times := make([]time.Time, len(titles))
	for i, title := range titles {
		times[i] = seen[title]
	}
	_, err := a.pool.Exec(ctx, `UPDATE device SET last_seen_at = greatest(device.last_seen_at, s.at)
		FROM unnest($1::text[], $2::timestamptz[]) AS s (title, at) WHERE device.ae_title = s.title`, titles, times)
	if err != nil {
		ad.mu.Lock()
		defer ad.mu.Unlock()
		for title, at := range seen {
			if at.After(ad.seen[title]) {
				ad.seen[title] = at
			}
		}
		return failure(err)
	}
	return nil
}

// writeSnapshot replaces the file at once: after a crash it holds the old
// content or the new, never half of one.
func writeSnapshot(path string, s *snapshot) (err error) {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("known devices: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	return folder.Sync()
}
