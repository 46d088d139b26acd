package publish

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// joinedMetadata is the metadata member of a merged pack: in a file, because
// the DICOM JSON of a long series does not belong in memory.
type joinedMetadata struct {
	file  *os.File
	size  int64
	crc   uint32
	count int
}

func (j *joinedMetadata) member() member {
	return member{name: metadataName, size: j.size, crc32: j.crc, open: func() io.Reader { return io.NewSectionReader(j.file, 0, j.size) }}
}

func (j *joinedMetadata) close() { _ = j.file.Close() }

// scratch is a file without a name.
func (m *Merger) scratch() (*os.File, error) {
	f, err := os.CreateTemp(m.Dir, "merge-*")
	if err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "There is no place for the metadata of a series while it is put together")
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// joinMetadata puts the objects of the current instances together in instance
// order: first all of them, as they come out of the packs, then the array. Those
// of compressed copies are there already.
func (m *Merger) joinMetadata(ctx context.Context, s *index.StoredSeries, made *copies) (*joinedMetadata, error) {
	objects, err := m.scratch()
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	places, err := m.collectObjects(ctx, s, made, objects)
	if err != nil {
		return nil, err
	}
	file, err := m.scratch()
	if err != nil {
		return nil, err
	}
	joined := &joinedMetadata{file: file}
	if err := joined.write(places); err != nil {
		joined.close()
		return nil, err
	}
	return joined, nil
}

func (j *joinedMetadata) write(objects []keptObject) error {
	crc := crc32.NewIEEE()
	buffered := bufio.NewWriter(io.MultiWriter(j.file, crc))
	zip := gzip.NewWriter(buffered)
	separator := "["
	for _, o := range objects {
		_, err := io.WriteString(zip, separator)
		if err == nil {
			_, err = io.Copy(zip, io.NewSectionReader(o.in, o.at.Offset, o.at.Length))
		}
		if err != nil {
			return err
		}
		separator = ","
		j.count++
	}
	end := "]"
	if j.count == 0 {
		end = "[]"
	}
	_, err := io.WriteString(zip, end)
	if err = errors.Join(err, zip.Close(), buffered.Flush()); err != nil {
		return err
	}
	j.crc = crc.Sum32()
	j.size, err = j.file.Seek(0, io.SeekCurrent)
	return err
}

// keptObject is where the JSON object of an instance is.
type keptObject struct {
	in *os.File
	at pacs.Range
}

// collectObjects copies the JSON objects of the current instances out of the
// packs and returns where they are, in instance order.
func (m *Merger) collectObjects(ctx context.Context, s *index.StoredSeries, made *copies, to *os.File) ([]keptObject, error) {
	var places []keptObject
	wanted := map[int64]map[string]int{} // by pack, then by UID: the place in places
	var packs []int64
	for i, in := range s.Instances {
		if !in.Current {
			break // they come first
		}
		if c := made.of[i]; c != nil {
			places = append(places, keptObject{made.file, c.object})
			continue
		}
		if wanted[in.PackID] == nil {
			wanted[in.PackID] = map[string]int{}
			packs = append(packs, in.PackID)
		}
		wanted[in.PackID][in.SOPInstanceUID] = len(places)
		places = append(places, keptObject{in: to})
	}
	slices.Sort(packs)
	buffered := bufio.NewWriter(to)
	at := int64(0)
	for _, id := range packs {
		missing := wanted[id]
		err := m.eachObject(ctx, s.Packs[id], func(o object) error {
			place, ok := missing[o.sop]
			if !ok {
				return nil
			}
			delete(missing, o.sop)
			n, err := buffered.Write(o.raw)
			places[place].at = pacs.Range{Offset: at, Length: int64(n)}
			at += int64(n)
			return err
		})
		if err != nil {
			return nil, err
		}
		for sop := range missing {
			return nil, &DamageError{s.Packs[id].Key, fmt.Errorf("its metadata has nothing of %s", sop)}
		}
	}
	return places, buffered.Flush()
}

// eachObject calls f with the objects of a pack's metadata, one at a time.
func (m *Merger) eachObject(ctx context.Context, p index.Pack, f func(object) error) error {
	body, err := m.Store.Get(ctx, p.Key, p.MetaOffset, p.MetaLength)
	if err != nil {
		return storeFailure(p.Key, err)
	}
	// What the store fails with must not pass for damage.
	reading := &failing{reader: body}
	defer func() { _ = body.Close() }()
	bad := func(err error) error {
		if reading.err != nil {
			return storeFailure(p.Key, reading.err)
		}
		return &DamageError{p.Key, fmt.Errorf("its metadata: %w", err)}
	}
	zip, err := gzip.NewReader(reading)
	if err != nil {
		return bad(err)
	}
	decoder := json.NewDecoder(zip)
	if _, err := decoder.Token(); err != nil {
		return bad(err)
	}
	for decoder.More() {
		var o object
		if err := decoder.Decode(&o.raw); err != nil {
			return bad(err)
		}
		if err := o.identify(); err != nil {
			return bad(err)
		}
		if err := f(o); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return bad(err)
	}
	rest := new(strings.Builder)
	if _, err := io.Copy(rest, io.LimitReader(io.MultiReader(decoder.Buffered(), zip), 1)); err != nil {
		return bad(err) // the checksum at the end
	}
	if rest.Len() > 0 {
		return bad(errors.New("something follows the array"))
	}
	return nil
}

// failing remembers with what reading failed.
type failing struct {
	reader io.Reader
	err    error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.reader.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}
