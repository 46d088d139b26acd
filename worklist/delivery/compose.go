package delivery

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/report"
)

// Composer gathers from the index and the people's records what the platform
// is told about a report.
type Composer struct {
	Index *index.Index
	// Requests, when set, tells of the orders of studies.
	Requests worklist.Requests
}

// scope is that of the outbox: it delivers for every facility.
var scope = pacs.System("delivery")

// Compose gathers one version.
func (c *Composer) Compose(ctx context.Context, signed report.Signed) (*fhir.Report, error) {
	studies, err := c.Index.StudiesByID(ctx, scope, []int64{signed.StudyID})
	if err != nil {
		return nil, err
	}
	study, ok := studies[signed.StudyID]
	if !ok {
		return nil, pacs.Errorf(pacs.NotFound, "The study of the report is not in the index")
	}
	series, _, err := c.Index.Series(ctx, scope, pacs.SeriesFilter{
		Study: pacs.StudyFilter{StudyInstanceUIDs: []string{study.StudyInstanceUID}}, Page: pacs.Page{Limit: index.MaxLimit},
	})
	if err != nil {
		return nil, err
	}
	radiologist, err := radiologist(ctx, c.Index.Pool(), signed)
	if err != nil {
		return nil, err
	}
	family, given, patronymic := pacs.NameParts(study.Patient.Name)
	out := &fhir.Report{
		ID:       signed.ReportID,
		Version:  signed.Version.Version,
		Kind:     fhir.Kind(signed.Kind),
		Language: report.PlatformLanguage(signed.Language),
		Sections: fhir.Sections{
			Indication: signed.Sections.Indication, Technique: signed.Sections.Technique,
			Findings: signed.Sections.Findings, Impression: signed.Sections.Impression,
		},
		SignedAt:    signed.SignedAt,
		Radiologist: radiologist,
		Patient: fhir.Patient{
			Name:      fhir.PersonName{Family: family, Given: given, Patronymic: patronymic},
			DICOMName: study.Patient.Name,
			IDs:       patientIDs(study),
			PINFL:     study.Patient.PINFL,
			Sex:       study.Patient.Sex,
			BirthDate: dashed(study.Patient.BirthDate),
		},
		Facility: fhir.Facility{Code: study.Facility.Code, Name: study.Facility.Name, TaxID: study.Facility.TaxID},
		Study: fhir.Study{
			UID: study.StudyInstanceUID, Accession: study.AccessionNumber, Description: study.Description,
			Started: report.StudyTime(study), Modalities: study.Modalities,
		},
		PDF: signed.PDF,
	}
	if signed.Before != nil {
		out.Predecessor = &fhir.Predecessor{Version: signed.Before.Version, SignedAt: signed.Before.SignedAt}
	}
	if c.Requests != nil {
		asked, err := c.Requests(ctx, c.Index.Pool(), []int64{study.ID})
		if err != nil {
			return nil, err
		}
		out.Study.Order = asked[study.ID].Placer
	}
	instances, err := c.instances(ctx, study)
	if err != nil {
		return nil, err
	}
	for _, s := range series {
		out.Study.Series = append(out.Study.Series, fhir.Series{
			UID: s.SeriesInstanceUID, Number: numberOf(s.Number), Modality: s.Modality, Description: s.Description,
			BodyPart: s.BodyPart, InstanceCount: s.InstanceCount, Instances: instances[s.ID],
		})
	}
	return out, nil
}

// instances lists a study's instances by series row. A study that has more than
// one page of them goes without: the platform gets their number, and finds them
// through the Endpoint.
func (c *Composer) instances(ctx context.Context, study pacs.Study) (map[int64][]fhir.Instance, error) {
	if study.InstanceCount > index.MaxLimit {
		return nil, nil
	}
	found, next, err := c.Index.Instances(ctx, scope, pacs.InstanceFilter{
		Series: pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{study.StudyInstanceUID}}},
		Page:   pacs.Page{Limit: index.MaxLimit},
	})
	if err != nil || next != "" {
		return nil, err
	}
	bySeries := map[int64][]fhir.Instance{}
	for _, i := range found {
		bySeries[i.SeriesID] = append(bySeries[i.SeriesID], fhir.Instance{UID: i.SOPInstanceUID, SOPClass: i.SOPClassUID, Number: numberOf(i.Number)})
	}
	return bySeries, nil
}

// numberOf gives -1 for no number, as package fhir has it.
func numberOf(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

// radiologist reads the signer's identifiers. The name is the one that was
// signed with.
func radiologist(ctx context.Context, pool *pgxpool.Pool, signed report.Signed) (fhir.Radiologist, error) {
	r := fhir.Radiologist{}
	name := strings.Fields(signed.SignedBy)
	for i, part := range []*string{&r.Name.Family, &r.Name.Given} {
		if i < len(name) {
			*part = name[i]
		}
	}
	if len(name) > 2 {
		r.Name.Patronymic = strings.Join(name[2:], " ")
	}
	err := pool.QueryRow(ctx, `SELECT pinfl, argos FROM user_account WHERE id = $1`, signed.SignerID).Scan(&r.PINFL, &r.ArgosID)
	return r, worklist.Failure(err)
}

// patientIDs are the numbers by which the platform may find the patient. The
// issuer carries the facility, so that no sender can name another hospital's
// patient. A number that somebody else had before identifies nobody.
func patientIDs(study pacs.Study) []fhir.PatientID {
	if study.Patient.Variant != 0 {
		return nil
	}
	issuer := study.Facility.Code
	if study.Patient.Issuer != issuer {
		issuer += "/" + study.Patient.Issuer
	}
	return []fhir.PatientID{{Issuer: issuer, Value: study.Patient.PatientID}}
}

func dashed(date string) string {
	if t, err := time.Parse("20060102", date); err == nil {
		return t.Format(time.DateOnly)
	}
	return ""
}
