package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/s3"
)

// The forms in which a viewer asks.
const (
	acceptFiles    = `multipart/related; type="application/dicom"; transfer-syntax=*`
	acceptMetadata = "application/dicom+json"
	acceptFrames   = `multipart/related; type="application/octet-stream"; transfer-syntax=*`
	acceptJPEG     = "image/jpeg"
)

const (
	// webConnections is how many a browser opens to one host with HTTP/1.1.
	webConnections = 6
	webTimes       = 5 // requests of each kind that fetch much
	webStudies     = 4 // the first is asked again and again, the others once
)

// dicomWeb measures WADO-RS beside Orthanc's plugin, and beside nginx with the
// same bytes as files; then again with packs in MinIO.
func dicomWeb(ctx context.Context, r *run) error {
	batches, err := r.corpus.batches(r.corpus.ct, 1, ctSlices, webStudies)
	if err != nil {
		return err
	}
	defer remove(batches) //nolint:errcheck // the whole folder goes at the end
	var studies []pulled
	for v := range webStudies {
		studies = append(studies, r.pulledStudy(r.corpus.variants-webStudies+1+v))
	}
	for n := range r.repeat {
		if err := r.onNginx(ctx, studies[0]); err != nil {
			return err
		}
		for _, s := range []system{&tasvir{run: r, flags: []string{"--quiet", "2s"}}, &tasvir{run: r, minio: true, flags: []string{"--quiet", "2s"}}, &orthanc{run: r}} {
			err := r.on(ctx, s, func() error {
				r.noteLoad(fmt.Sprintf("dicomweb %d on %s", n+1, s.name()))
				if _, err := r.storescu(ctx, s, batches, false); err != nil {
					return err
				}
				if _, err := awaitCount(ctx, s, total(batches), pollPause); err != nil {
					return err
				}
				if err := settled(ctx, s, webStudies); err != nil {
					return err
				}
				if err := r.pull(ctx, s, studies); err != nil {
					return err
				}
				if t, ours := s.(*tasvir); ours && t.minio {
					return r.plainly(ctx, t.store)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// pulled is a study of one series that is fetched.
type pulled struct {
	study, series string
	instances     []string
	bytes         int64
	frame         [][]byte // pixels of each instance
}

func (r *run) pulledStudy(variant int) (p pulled) {
	for k := range r.corpus.ct.instances {
		i := r.corpus.ct.instances[k].variant(variant)
		p.study, p.series = i.study, i.series
		p.instances = append(p.instances, i.sop)
		p.frame = append(p.frame, i.pixels)
		p.bytes += int64(len(i.file) + len(i.header) + len(i.pixels))
	}
	return p
}

func (p pulled) path() string { return "/studies/" + p.study + "/series/" + p.series }

// web is the address of a system's DICOMweb service.
func web(s system) string {
	switch s := s.(type) {
	case *tasvir:
		return s.qido()
	case *orthanc:
		return s.qido()
	}
	return ""
}

// settled waits until a system has done what it does after receiving: studies
// complete, the packs of each series merged into one.
func settled(ctx context.Context, s system, series int) error {
	settle()
	t, ours := s.(*tasvir)
	if !ours {
		return nil
	}
	ix, err := t.index(ctx)
	if err != nil {
		return err
	}
	defer ix.Close()
	for deadline := time.Now().Add(mergePatience); time.Now().Before(deadline); {
		var packs int
		if err := ix.Pool().QueryRow(ctx, `SELECT count(*) FROM pack WHERE retired_at IS NULL`).Scan(&packs); err != nil {
			return err
		}
		if packs == series {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// pull measures one system. Its names and targets are those of the issue that
// asked for them.
func (r *run) pull(ctx context.Context, s system, studies []pulled) error {
	base, first := web(s), studies[0]
	size := len(first.instances)

	// Cold: series that nobody has asked for yet, and nothing of them in the
	// page cache where we may empty it.
	for _, p := range studies[1:] {
		dropPageCache()
		began := time.Now()
		if err := checkMetadata(ctx, base+p.path()+"/metadata", size); err != nil {
			return err
		}
		r.web(s, "series metadata of 250 instances, cold", "answers/s", 1/time.Since(began).Seconds(), 15, 0)
	}
	for range 4 * webTimes {
		began := time.Now()
		if err := checkMetadata(ctx, base+first.path()+"/metadata", size); err != nil {
			return err
		}
		r.web(s, "series metadata of 250 instances, warm", "answers/s", 1/time.Since(began).Seconds(), 15, 0)
	}
	for range webTimes {
		began := time.Now()
		n, err := drain(ctx, base+first.path(), acceptFiles)
		if err == nil && n < first.bytes {
			err = fmt.Errorf("%d of %d bytes of the series came", n, first.bytes)
		}
		if err != nil {
			return err
		}
		r.web(s, wholeSeries, "MB/s", float64(n)/1e6/time.Since(began).Seconds(), 2, 0.7)
	}
	for range webTimes {
		rate, err := pullAll(ctx, size, func(k int) error {
			n, err := drain(ctx, base+first.path()+"/instances/"+first.instances[k]+"/frames/1", acceptFrames)
			if err == nil && n < int64(len(first.frame[k])) {
				err = fmt.Errorf("a frame of %d bytes came with %d", len(first.frame[k]), n)
			}
			return err
		})
		if err != nil {
			return err
		}
		r.web(s, singleFrames, "frames/s", rate, 2, 0)
	}
	pictures := func(query string) (float64, error) {
		return pullAll(ctx, size, func(k int) error {
			raw, err := fetch(ctx, base+first.path()+"/instances/"+first.instances[k]+"/rendered"+query, acceptJPEG)
			if err == nil && !bytes.HasPrefix(raw, []byte{0xFF, 0xD8}) {
				err = errors.New("no JPEG came")
			}
			return err
		})
	}
	query := ""
	for n := range 2 * webTimes {
		what := samePictures
		if n < webTimes { // in a window that nobody has asked for
			r.windows++
			what, query = firstPictures, fmt.Sprintf("?window=%d,400,linear", r.windows)
		}
		rate, err := pictures(query)
		if err != nil {
			r.report.note("rendered on %s: %v", s.name(), err)
			break
		}
		r.web(s, what, "pictures/s", rate, 2, 0)
	}
	return nil
}

const (
	wholeSeries   = "WADO-RS: 250 CT slices as stored"
	singleFrames  = "WADO-RS: 250 single frames, 6 connections"
	firstPictures = "rendered to JPEG: 250 of 512×512 in a new window, 6 connections"
	samePictures  = "rendered to JPEG: the same 250 again, 6 connections"
)

// web notes a sample of a system. What is measured on MinIO is held against
// files, and stands in a row of its own.
func (r *run) web(s system, what, unit string, value, timesOrthanc, timesNginx float64) {
	r.say("  %-15s %-50s %7s %s", s.name(), what, figure(value), unit)
	targets := []target{atLeast(timesOrthanc, "orthanc")}
	if timesNginx > 0 {
		targets = append(targets, atLeast(timesNginx, nginxName))
	}
	if s.name() != tasvirOnMinIO {
		r.report.row(what, unit, "tasvir", targets...).add(s.name(), value)
	}
	if s.name() != "orthanc" {
		r.report.row(what+inMinIO, unit, tasvirOnMinIO, atLeast(0.6, "tasvir")).add(s.name(), value)
	}
}

// onNginx measures files with the same bytes.
func (r *run) onNginx(ctx context.Context, p pulled) (err error) {
	n := &nginx{}
	defer func() { err = errors.Join(err, n.stop()) }()
	if err := n.start(r.dir); err != nil {
		return err
	}
	whole, err := os.Create(filepath.Join(n.files(), "series"))
	if err != nil {
		return err
	}
	for k, pixels := range p.frame {
		if err := os.WriteFile(filepath.Join(n.files(), fmt.Sprint(k)), pixels, 0o644); err != nil {
			return errors.Join(err, whole.Close())
		}
		if _, err := whole.Write(pixels); err != nil {
			return errors.Join(err, whole.Close())
		}
	}
	if _, err := whole.Write(make([]byte, p.bytes-int64(len(p.frame)*len(p.frame[0])))); err != nil {
		return errors.Join(err, whole.Close())
	}
	if err := whole.Close(); err != nil {
		return err
	}
	settle()
	for range webTimes {
		began := time.Now()
		size, err := drain(ctx, n.url("series"), "*/*")
		if err != nil {
			return err
		}
		r.report.row(wholeSeries, "MB/s", "tasvir", atLeast(2, "orthanc"), atLeast(0.7, nginxName)).add(nginxName, float64(size)/1e6/time.Since(began).Seconds())
		rate, err := pullAll(ctx, len(p.frame), func(k int) error {
			_, err := drain(ctx, n.url(fmt.Sprint(k)), "*/*")
			return err
		})
		if err != nil {
			return err
		}
		r.report.row(singleFrames, "frames/s", "tasvir", atLeast(2, "orthanc")).add(nginxName, rate)
	}
	return nil
}

// plainly measures how fast the object store gives a pack by itself: nobody who
// reads from it can be faster.
func (r *run) plainly(ctx context.Context, m *minio) error {
	config, err := s3.ParseURL(m.url(), func(name string) string {
		return map[string]string{"TASVIR_S3_ACCESS_KEY": minioUser, "TASVIR_S3_SECRET_KEY": minioPassword}[name]
	})
	if err != nil {
		return err
	}
	store, err := s3.Open(ctx, config)
	if err != nil {
		return err
	}
	var largest storage.Info
	for o, err := range store.List(ctx, "packs/") {
		if err != nil {
			return err
		}
		if o.Size > largest.Size {
			largest = o
		}
	}
	for range webTimes {
		began := time.Now()
		body, err := store.Get(ctx, largest.Key, 0, largest.Size)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, body)
		if err = errors.Join(err, body.Close()); err != nil {
			return err
		}
		rate := float64(n) / 1e6 / time.Since(began).Seconds()
		r.say("  %-15s %-50s %7s MB/s", minioItself, "a pack, read from the object store", figure(rate))
		r.report.row(wholeSeries+inMinIO, "MB/s", tasvirOnMinIO, atLeast(0.6, "tasvir")).add(minioItself, rate)
	}
	return nil
}

const (
	minioItself = "MinIO alone"
	inMinIO     = ", packs in MinIO instead of files"
)

// pullAll runs n requests over webConnections connections and returns their
// rate.
func pullAll(ctx context.Context, n int, one func(k int) error) (float64, error) {
	var (
		mu    sync.Mutex
		next  int
		first error
		all   sync.WaitGroup
	)
	began := time.Now()
	for range webConnections {
		all.Go(func() {
			for {
				mu.Lock()
				k := next
				next++
				stop := k >= n || first != nil || ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := one(k); err != nil {
					mu.Lock()
					first = cmp.Or(first, err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return rate(n, began), errors.Join(first, ctx.Err())
}

// drain asks for something large and throws it away, as it comes.
func drain(ctx context.Context, url, accept string) (int64, error) {
	body, err := open(ctx, url, accept)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	return io.CopyBuffer(onlyWriter{io.Discard}, body, make([]byte, 256<<10))
}

// onlyWriter hides how io.Discard reads, which is in small pieces.
type onlyWriter struct{ io.Writer }

func fetch(ctx context.Context, url, accept string) ([]byte, error) {
	body, err := open(ctx, url, accept)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return io.ReadAll(body)
}

func open(ctx context.Context, url, accept string) (io.ReadCloser, error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	rq.Header.Set("Accept", accept)
	answer, err := qidoClient.Do(rq)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		return nil, errors.Join(fmt.Errorf("%s: %s %s", url, answer.Status, text), answer.Body.Close())
	}
	return answer.Body, nil
}

// checkMetadata fetches the metadata of a series and counts its instances.
func checkMetadata(ctx context.Context, url string, instances int) error {
	raw, err := fetch(ctx, url, acceptMetadata)
	if err != nil {
		return err
	}
	if n := bytes.Count(raw, []byte(`"00080018"`)); n != instances {
		return fmt.Errorf("%s has %d instances, not %d", url, n, instances)
	}
	return nil
}

// dropPageCache has the next reads come from the disk; only root may ask for
// it.
func dropPageCache() {
	settle()
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0)
}
