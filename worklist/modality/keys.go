package modality

import (
	"cmp"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// Key is an attribute of the modality worklist information model.
type Key struct {
	Tag    dicom.Tag
	VR     dicom.VR
	InStep bool // within the Scheduled Procedure Step Sequence
	// Held says that orders have it; others are returned empty.
	Held bool
	// Matching names the kinds of matching of PS3.4 C.2.2.2 that are done besides
	// universal matching; none means that a value is not matched by.
	Matching []string
}

// Keys lists the attributes of the model that are known, those outside of the
// Scheduled Procedure Step Sequence first.
func Keys() []Key {
	var list []Key
	for inStep, fields := range map[bool]map[dicom.Tag]field{false: orderFields, true: stepFields} {
		for t, f := range fields {
			list = append(list, Key{Tag: t, VR: f.vr, InStep: inStep, Held: f.value != nil || f.items != nil, Matching: f.matching(t)})
		}
	}
	slices.SortFunc(list, func(a, b Key) int {
		if a.InStep != b.InStep {
			if b.InStep {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Tag, b.Tag)
	})
	return list
}

// matching is what key.matches and parseWindow do.
func (f field) matching(t dicom.Tag) []string {
	switch {
	case f.value == nil:
		return nil
	case f.vr == dicom.DA || t == dicom.TagScheduledProcedureStepStartTime:
		return []string{"single value", "range"}
	}
	return []string{"single value", "wild card", "list of values"}
}

// operationClass is the SOP class that an operation on performed steps is of; it
// may come in a presentation context of the other.
var operationClass = map[dimse.Field]string{
	dimse.NCreateRQ: dicom.ModalityPerformedProcedureStepSOPClass, dimse.NSetRQ: dicom.ModalityPerformedProcedureStepSOPClass,
	dimse.NGetRQ: RetrieveSOPClass,
}

// Carries says whether an operation is carried out on a SOP class of performed
// steps; true for other classes.
func Carries(sopClass string, f dimse.Field) bool {
	if sopClass != dicom.ModalityPerformedProcedureStepSOPClass && sopClass != RetrieveSOPClass {
		return true
	}
	return operationClass[f] == sopClass
}

// Demands are what a performed procedure step must have. PS3.4 Table F.7.2-1.
type Demands struct {
	Create   []dicom.Tag // with a value in N-CREATE
	End      []dicom.Tag // with a value when it ends
	Complete []dicom.Tag // with a value when it ends as COMPLETED
	Settled  []dicom.Tag // not to be changed by N-SET
}

// StepDemands returns what is demanded.
func StepDemands() Demands {
	return Demands{slices.Clone(mustCreate), slices.Clone(mustEnd), slices.Clone(mustComplete), slices.Clone(settled)}
}
