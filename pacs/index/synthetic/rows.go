package synthetic

import (
	"context"
	"crypto/sha256"
	"strconv"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// people makes the patients from … to-1.
func (f *filler) people(from, to int) *part {
	t := newCopied("patient", "id", "facility_row", "issuer", "patient_id", "name", "name_fold", "sex", "birth_date", "pinfl")
	for n := from; n < to; n++ {
		p := f.person(n)
		t.row()
		t.int8(f.patientRow(n))
		t.int8(f.facilities[p.facility])
		t.text(p.Issuer)
		t.text(p.PatientID)
		t.text(p.Name)
		t.text(p.fold)
		t.text(p.Sex)
		t.text(p.BirthDate)
		t.text(p.PINFL)
	}
	return &part{tables: []*copied{t}, things: to - from}
}

// studies makes the studies from … to-1 with all that is under them.
func (f *filler) studies(from, to int) *part {
	studies := newCopied("study",
		"id", "study_uid", "patient_row", "facility_row", "study_date", "study_time", "accession_number", "study_id", "description",
		"referring_physician", "modalities", "body_parts", "series_count", "instance_count", "bytes", "received_at", "updated_at",
		"completed_at", "completions", "merged", "attributes", "patient_name", "patient_fold")
	series := newCopied("series", "id", "study_row", "series_uid", "modality", "number", "description", "body_part", "instance_count", "has_pixels")
	packs := newCopied("pack", "id", "key", "series_row", "bytes", "meta_offset", "meta_length", "described", "created_at")
	instances := newCopied("instance",
		"study_row", "series_row", "sop_uid", "version", "sop_class", "transfer_syntax", "number", "rows", "columns", "frames", "sha256",
		"pack_row", "pack_offset", "length", "dataset_offset", "sender", "channel", "received_at")
	for n := from; n < to; n++ {
		s := f.Options.study(&f.calendar, f.first, n)
		next := f.uids(n)
		uid := next()
		row := f.firstStudy + int64(n-f.first.study)
		studies.row()
		studies.int8(row)
		studies.text(uid)
		studies.int8(f.patientRow(s.patient))
		studies.int8(f.facilities[s.home])
		studies.text(s.at.Format("20060102"))
		studies.text(s.at.Format("150405"))
		studies.text(s.accession)
		studies.text(strconv.Itoa(n%100_000 + 1))
		studies.text(s.text)
		studies.text(s.referring)
		studies.texts(s.modalities()...)
		studies.texts(s.body)
		studies.int4(len(s.series))
		studies.int4(s.instances())
		studies.int8(int64(s.instances()) * s.size)
		studies.time(s.received)
		studies.time(s.received)
		studies.time(s.received.Add(time.Minute))
		studies.int4(1)
		studies.int4(1)
		studies.json(s.attributes)
		p := f.person(s.patient)
		studies.text(strings.ToLower(p.Name))
		studies.text(p.fold)

		sender := facilityCode(s.home)[len(facilityPrefix):] + s.modality
		for i, count := range s.series {
			at := int64((n-f.first.study)*mostSeries + i)
			seriesRow, packRow := f.firstSeries+at, f.firstPack+at
			seriesUID := next()
			series.row()
			series.int8(seriesRow)
			series.int8(row)
			series.text(seriesUID)
			series.text(s.modalityOf(i))
			series.int4(i + 1)
			series.text(s.examination.series[i])
			series.text(s.body)
			series.int4(count)
			series.bool(true)

			packs.row()
			packs.int8(packRow)
			packs.text(index.SyntheticPrefix + uid + "/" + seriesUID + ".zip")
			packs.int8(seriesRow)
			packs.int8(int64(count)*s.size + 1000)
			packs.int8(int64(count) * s.size)
			packs.int8(700)
			packs.int4(count)
			packs.time(s.received)

			for k := range count {
				sop := next()
				sum := sha256.Sum256([]byte(sop))
				instances.row()
				instances.int8(row)
				instances.int8(seriesRow)
				instances.text(sop)
				instances.int4(1)
				instances.text(s.class)
				instances.text(s.syntax)
				instances.int4(k + 1)
				instances.int4(s.rows)
				instances.int4(s.rows)
				instances.int4(1)
				instances.bytes(sum[:])
				instances.int8(packRow)
				instances.int8(int64(k) * s.size)
				instances.int8(s.size)
				instances.int8(300)
				instances.text(sender)
				instances.text(string(pacs.ChannelDIMSE))
				instances.time(s.received)
			}
		}
	}
	return &part{tables: []*copied{studies, series, packs, instances}, things: to - from}
}

// makeParts makes the things from … to-1 in parts, several at a time, and hands
// them out in order. The channel is closed early when ctx ends.
func makeParts(ctx context.Context, workers, from, to, atOnce int, rows func(from, to int) *part) <-chan *part {
	coming := make(chan chan *part, workers)
	go func() {
		defer close(coming)
		for ; from < to; from += atOnce {
			made := make(chan *part, 1)
			select {
			case coming <- made:
			case <-ctx.Done():
				return
			}
			go func(from, to int) { made <- rows(from, to) }(from, min(from+atOnce, to))
		}
	}()
	out := make(chan *part)
	go func() {
		defer close(out)
		for made := range coming {
			select {
			case out <- <-made:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
