package pacs

// Correction comes with an instance that an administrator releases from
// quarantine. It is kept in the journal and in the pack's manifest, so that it
// holds however often the instance is published or the index rebuilt.
type Correction struct {
	// Item is the instance's id in quarantine, which is told when the instance
	// is published, and takes it back when it still doesn't fit.
	Item string `json:"item"`
	// Patient stands in for what the data set says, whose bytes stay as they
	// are; nil when the data set is right.
	Patient *CorrectedPatient `json:"patient,omitempty"`
}

// CorrectedPatient is who a patient is by an administrator's word.
type CorrectedPatient struct {
	Name      string `json:"name,omitempty"`
	PatientID string `json:"patient_id,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
	BirthDate string `json:"birth_date,omitempty"`
	Sex       string `json:"sex,omitempty"`
	PINFL     string `json:"pinfl,omitempty"`
}

// Patient is the same as a patient of the index.
func (p *CorrectedPatient) Patient() Patient {
	return Patient{Issuer: p.Issuer, PatientID: p.PatientID, Name: p.Name, BirthDate: p.BirthDate, Sex: p.Sex, PINFL: p.PINFL}
}
