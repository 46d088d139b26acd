package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// A recipe generates the pictures of one study; variants of it differ in UIDs,
// patient and accession number.
type recipe struct {
	slug      string
	instances []instance
}

// instance is a generated image in two halves: the data set up to the pixels,
// where everything stands that differs between variants, and the pixels.
type instance struct {
	sopClass, syntax   string
	study, series, sop string
	file               []byte // preamble and file meta information
	header             []byte
	pixels             []byte
}

const (
	patientID = "BENCH00000000"
	accession = "A00000000"
)

// newRecipe generates n slices of m×m pixels of 16 bits as one series.
func newRecipe(slug string, kind phantom.Kind, n, m int) (*recipe, error) {
	study := phantom.Small(kind, n)
	study.Patient.ID, study.Accession, study.Issuer = patientID, accession, ""
	study.Series = []phantom.SeriesSpec{{Slices: n, Matrix: m}}
	study.Date = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	r := &recipe{slug: slug}
	for i, err := range study.Instances() {
		if err != nil {
			return nil, err
		}
		var whole bytes.Buffer
		if _, err := i.WriteTo(&whole); err != nil {
			return nil, err
		}
		all, dataset := whole.Bytes(), i.Dataset()
		pixels := 2 * m * m
		if len(dataset) <= pixels {
			return nil, fmt.Errorf("a generated %s has only %d bytes", slug, len(dataset))
		}
		r.instances = append(r.instances, instance{
			sopClass: i.SOPClassUID, syntax: i.TransferSyntaxUID,
			study: i.StudyInstanceUID, series: i.SeriesInstanceUID, sop: i.SOPInstanceUID,
			file: all[:len(all)-len(dataset)], header: dataset[:len(dataset)-pixels], pixels: dataset[len(dataset)-pixels:],
		})
	}
	return r, nil
}

// renew is another UID of the same length.
func renew(uid string, variant int) string {
	const tail = 14 // digits: that two of some millions meet is unlikely
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, uid)
	_ = binary.Write(h, binary.LittleEndian, int64(variant))
	return uid[:len(uid)-tail] + fmt.Sprintf("%0*d", tail, h.Sum64()%100_000_000_000_000)
}

// patientOf is the patient ID of a variant.
func patientOf(v int) string { return fmt.Sprintf("BENCH%08d", v) }

// variant is the instance as it is in another study.
func (i *instance) variant(v int) instance {
	study, series, sop := renew(i.study, v), renew(i.series, v), renew(i.sop, v)
	out := *i
	out.study, out.series, out.sop = study, series, sop
	out.file = bytes.ReplaceAll(i.file, []byte(i.sop), []byte(sop))
	header := i.header
	for _, change := range [][2]string{
		{i.study, study},
		{i.series, series},
		{i.sop, sop},
		{patientID, patientOf(v)},
		{accession, fmt.Sprintf("A%08d", v)},
	} {
		header = bytes.ReplaceAll(header, []byte(change[0]), []byte(change[1]))
	}
	out.header = header
	return out
}

// kind is what an association that carries the instance must negotiate.
func (i *instance) kind() dimse.Kind {
	return dimse.Kind{SOPClassUID: i.sopClass, TransferSyntaxUID: i.syntax}
}

// batch is a folder of files for one association.
type batch struct {
	dir   string
	files int
	bytes int64
}

// batch writes variants of the first n instances into a new folder, each of
// which is a study.
func (c *corpus) batch(r *recipe, n, variants int) (batch, error) {
	dir, err := os.MkdirTemp(c.dir, r.slug+"-")
	if err != nil {
		return batch{}, err
	}
	b := batch{dir: dir}
	for range variants {
		c.variants++
		for k := range r.instances[:min(n, len(r.instances))] {
			i := r.instances[k].variant(c.variants)
			size, err := writeFile(filepath.Join(dir, fmt.Sprintf("%d-%04d.dcm", c.variants, k)), i.file, i.header, i.pixels)
			if err != nil {
				return batch{}, err
			}
			b.files++
			b.bytes += size
		}
	}
	return b, nil
}

func writeFile(name string, parts ...[]byte) (size int64, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		n, err := f.Write(p)
		size += int64(n)
		if err != nil {
			_ = f.Close()
			return size, err
		}
	}
	return size, f.Close()
}

// corpus is what this run sends.
type corpus struct {
	dir      string
	ct, mr   *recipe
	variants int // used so far
}

const (
	ctSlices, ctMatrix = 250, 512
	mrSlices, mrMatrix = 500, 128
)

func newCorpus(dir string) (*corpus, error) {
	ct, err := newRecipe("ct", phantom.HeadCT, ctSlices, ctMatrix)
	if err != nil {
		return nil, err
	}
	mr, err := newRecipe("mr", phantom.BrainMR, mrSlices, mrMatrix)
	return &corpus{dir: dir, ct: ct, mr: mr}, err
}

// batches makes one for each association.
func (c *corpus) batches(r *recipe, associations, n, variants int) ([]batch, error) {
	var list []batch
	for range associations {
		b, err := c.batch(r, n, variants)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

func remove(batches []batch) error {
	for _, b := range batches {
		if err := os.RemoveAll(b.dir); err != nil {
			return err
		}
	}
	return nil
}

func total(batches []batch) (files int) {
	for _, b := range batches {
		files += b.files
	}
	return files
}
