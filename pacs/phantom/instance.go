package phantom

import (
	"encoding/binary"
	"io"
	"iter"
	"runtime"
	"sync"
)

// Instance is one generated image.
type Instance struct {
	SOPClassUID       string
	SOPInstanceUID    string
	SeriesInstanceUID string
	StudyInstanceUID  string
	TransferSyntaxUID string
	SeriesNumber      int
	InstanceNumber    int

	dataset []byte
}

// Dataset is the encoded data set without preamble and file meta information,
// as C-STORE sends it. It must not be changed.
func (i *Instance) Dataset() []byte { return i.dataset }

// WriteTo writes the instance as a DICOM file (PS3.10 section 7.1).
func (i *Instance) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(i.fileMeta())
	if err != nil {
		return int64(n), err
	}
	m, err := w.Write(i.dataset)
	return int64(n + m), err
}

// fileMeta is preamble, prefix and File Meta Information (PS3.10 section 7.1).
func (i *Instance) fileMeta() []byte {
	d := &dataset{encode: func(s string) ([]byte, error) { return []byte(s), nil }}
	d.elements = append(d.elements, element{0x00020001, "OB", []byte{0, 1}})
	d.text(0x00020002, "UI", i.SOPClassUID)
	d.text(0x00020003, "UI", i.SOPInstanceUID)
	d.text(0x00020010, "UI", i.TransferSyntaxUID)
	d.text(0x00020012, "UI", implementationUID)
	d.text(0x00020013, "SH", implementationVersion)
	body := d.bytes(0)
	b := make([]byte, 128, 144+len(body))
	b = append(b, "DICM"...)
	b = d.header(b, 0x00020000, "UL", 4)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// Count is the number of instances the study has; 0 for a recipe that can't
// be made.
func (s *Study) Count() int {
	n := 0
	list, err := s.series()
	if err != nil {
		return 0
	}
	for _, spec := range list {
		n += spec.Slices
	}
	return n
}

// Bytes is the size of all pixel data of the study, close to what its
// instances take.
func (s *Study) Bytes() int64 {
	var n int64
	list, err := s.series()
	if err != nil {
		return 0
	}
	for _, spec := range list {
		nx, ny := spec.size(s.Kind)
		n += int64(spec.Slices) * int64(nx) * int64(ny) * 2
	}
	return n
}

// Instances generates the study series by series in order of instance number.
// Slices are painted ahead on all processors, but only a few are held at a
// time. A recipe that can't be made yields one error. The loop may be left at
// any time, and run again with the same result.
func (s *Study) Instances() iter.Seq2[*Instance, error] {
	return func(yield func(*Instance, error) bool) {
		jobs, err := s.plan()
		if err != nil {
			yield(nil, err)
			return
		}
		workers := min(runtime.GOMAXPROCS(0), len(jobs), 8)
		type order struct {
			job  *job
			done chan *Instance
		}
		todo := make(chan order)
		results := make(chan chan *Instance, workers)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		wg.Go(func() {
			defer close(todo)
			defer close(results)
			for i := range jobs {
				o := order{&jobs[i], make(chan *Instance, 1)}
				select {
				case results <- o.done:
				case <-stop:
					return
				}
				select {
				case todo <- o:
				case <-stop:
					return
				}
			}
		})
		for range workers {
			wg.Go(func() {
				c := &canvas{}
				for o := range todo {
					o.done <- o.job.make(c)
				}
			})
		}
		for done := range results {
			if !yield(<-done, nil) {
				return
			}
		}
	}
}
