package fhir

import "slices"

// statuses maps a version's kind to DiagnosticReport.status (R5
// diagnostic-report-status). R6's ballot drops corrected and appended, which is
// why they stand in one place.
var statuses = map[Kind]string{
	Final:      "final",
	Correction: "corrected",
	Addendum:   "appended",
}

// sections maps DICOM modalities (PS3.16 CID 33) to HL7 v2 table 0074,
// diagnostic service section, to which UZ Core binds DiagnosticReport.category.
var sections = map[string]string{
	"CT":   "CT",
	"MR":   "NMR",
	"US":   "RUS",
	"IVUS": "VUS",
	"CR":   "RAD",
	"DX":   "RAD",
	"RG":   "RAD",
	"RF":   "RAD",
	"XA":   "RAD",
	"MG":   "RAD",
	"IO":   "RAD",
	"PX":   "RAD",
	"BMD":  "RAD",
	"NM":   "NMS",
	"PT":   "NMS",
	"ECG":  "EC",
	"SM":   "SP",
}

// sectionsOf returns IMG (diagnostic imaging) and the sections of the modalities.
func sectionsOf(modalities []string) []string {
	found := []string{"IMG"}
	for _, modality := range modalities {
		if s := sections[modality]; s != "" && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}

// genders maps PatientSex (0010,0040) to AdministrativeGender.
var genders = map[string]string{"M": "male", "F": "female", "O": "other"}

// Systems and profiles: UZ Core, Aliases.fsh and identifiers.md; HL7 terminology;
// DICOM in FHIR (https://hl7.org/fhir/R5/imagingstudy.html).
const (
	uzCore         = "https://dhp.uz/fhir/core"
	systemPINFL    = uzCore + "/sid/pid/uz/ni"
	systemArgos    = uzCore + "/sid/pro/uz/argos"
	systemTaxID    = uzCore + "/sid/org/uz/soliq"
	profilePatient = uzCore + "/StructureDefinition/uz-core-patient"
	profileReport  = uzCore + "/StructureDefinition/uz-core-diagnostic-report"

	systemSection        = "http://terminology.hl7.org/CodeSystem/v2-0074"
	systemIdentifierType = "http://terminology.hl7.org/CodeSystem/v2-0203"
	systemConnection     = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
	systemLOINC          = "http://loinc.org"
	systemDCM            = "http://dicom.nema.org/resources/ontology/DCM"
	systemDICOMUID       = "urn:dicom:uid"
	systemURI            = "urn:ietf:rfc:3986"
)

// radiologyRoles are the codes of position-and-profession-cs held by people who
// read pictures, and the specialty's code: a doctor with several roles signs in
// one of these.
var radiologyRoles = []string{"2212.101", "2212.102", "2212.103", "2212.121", "2212.40", "394914008", "408455009"}

// words are the headings of the narrative, by language.
type words struct {
	report, indication, technique, findings, impression, correction, addendum string
}

var wordsIn = map[string]words{
	"uz": {
		"Tasviriy tekshiruv xulosasi", "Koʻrsatma", "Tekshiruv usuli", "Tavsif", "Xulosa",
		"%s dagi %d-versiyaning tuzatilgani", "%s dagi %d-versiyaga qoʻshimcha",
	},
	"uz-Cyrl": {
		"Тасвирий текширув хулосаси", "Кўрсатма", "Текширув усули", "Тавсиф", "Хулоса",
		"%s даги %d-версиянинг тузатилгани", "%s даги %d-версияга қўшимча",
	},
	"ru": {
		"Заключение лучевого исследования", "Показания", "Методика", "Описание", "Заключение",
		"Исправление версии %[2]d от %[1]s", "Дополнение к версии %[2]d от %[1]s",
	},
	"en": {
		"Diagnostic imaging report", "Indication", "Technique", "Findings", "Impression",
		"Correction of version %[2]d of %[1]s", "Addendum to version %[2]d of %[1]s",
	},
}

func wordsFor(language string) words {
	if w, ok := wordsIn[language]; ok {
		return w
	}
	return wordsIn["en"]
}
