package condition

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// StudyVariables are what conditions may say of a study: of finds it, with the
// time at which a patient's age counts when the study has no date.
func StudyVariables[T any](of func(T) (pacs.Study, time.Time)) []Variable[T] {
	study := func(name string, kind *cel.Type, value func(pacs.Study) any) Variable[T] {
		return Variable[T]{"study." + name, kind, func(subject T) any {
			s, _ := of(subject)
			return value(s)
		}}
	}
	return []Variable[T]{
		study("modalities", cel.ListType(cel.StringType), func(s pacs.Study) any { return s.Modalities }),
		study("description", cel.StringType, func(s pacs.Study) any { return s.Description }),
		study("question", cel.StringType, func(s pacs.Study) any { return s.Question }),
		study("body_part", cel.StringType, func(s pacs.Study) any { return strings.Join(s.BodyParts, ",") }),
		study("facility", cel.StringType, func(s pacs.Study) any { return s.Facility.Code }),
		study("sex", cel.StringType, func(s pacs.Study) any { return s.Patient.Sex }),
		study("instances", cel.IntType, func(s pacs.Study) any { return int64(s.InstanceCount) }),
		{"study.patient_age", cel.IntType, func(subject T) any { // whole years, -1 when unknown
			s, now := of(subject)
			if years, ok := pacs.AgeAt(s.Patient.BirthDate, s.Date, now); ok {
				return int64(years)
			}
			return int64(-1)
		}},
	}
}

// TrialStudy is an ordinary study, to try conditions on.
var TrialStudy = pacs.Study{
	Modalities: []string{"CT", "SR"}, Description: "CT head", Question: "Stroke?", BodyParts: []string{"HEAD"},
	Facility: pacs.Facility{Code: "URGUT"}, Patient: pacs.Patient{Sex: "F", BirthDate: "19890317"}, Date: "20261121", InstanceCount: 300,
}
