package fhir

// The parts of R5 that are written here, and no more. Field order is the order of
// the specification. What is read from a platform is read in fragments, where it
// is needed.

type bundle struct {
	ResourceType string  `json:"resourceType"`
	Type         string  `json:"type"`
	Entry        []entry `json:"entry"`
}

type entry struct {
	FullURL  string       `json:"fullUrl,omitempty"`
	Resource any          `json:"resource,omitempty"`
	Request  entryRequest `json:"request"`
}

type entryRequest struct {
	Method      string `json:"method"`
	URL         string `json:"url"`
	IfNoneExist string `json:"ifNoneExist,omitempty"`
}

type meta struct {
	Profile []string `json:"profile,omitempty"`
}

type coding struct {
	System  string `json:"system,omitempty"`
	Code    string `json:"code,omitempty"`
	Display string `json:"display,omitempty"`
}

type concept struct {
	Coding []coding `json:"coding,omitempty"`
	Text   string   `json:"text,omitempty"`
}

type identifier struct {
	Use      string     `json:"use,omitempty"`
	Type     *concept   `json:"type,omitempty"`
	System   string     `json:"system,omitempty"`
	Value    string     `json:"value,omitempty"`
	Assigner *reference `json:"assigner,omitempty"`
}

type reference struct {
	Reference  string      `json:"reference,omitempty"`
	Type       string      `json:"type,omitempty"`
	Identifier *identifier `json:"identifier,omitempty"`
	Display    string      `json:"display,omitempty"`
}

type narrative struct {
	Status string `json:"status"`
	Div    string `json:"div"`
}

type humanName struct {
	Use    string   `json:"use,omitempty"`
	Text   string   `json:"text,omitempty"`
	Family string   `json:"family,omitempty"`
	Given  []string `json:"given,omitempty"`
	Suffix []string `json:"suffix,omitempty"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Language    string `json:"language"`
	Data        string `json:"data"`
	Size        string `json:"size"` // integer64: a string in R5
	Hash        string `json:"hash"` // SHA-1
	Title       string `json:"title"`
	Creation    string `json:"creation"`
}

type patient struct {
	ResourceType string       `json:"resourceType"`
	Meta         meta         `json:"meta"`
	Identifier   []identifier `json:"identifier"`
	Active       bool         `json:"active"`
	Name         []humanName  `json:"name,omitempty"`
	Gender       string       `json:"gender,omitempty"`
	BirthDate    string       `json:"birthDate,omitempty"`
}

type endpoint struct {
	ResourceType   string            `json:"resourceType"`
	Identifier     []identifier      `json:"identifier"`
	Status         string            `json:"status"`
	ConnectionType []concept         `json:"connectionType"`
	Name           string            `json:"name"`
	Payload        []endpointPayload `json:"payload"`
	Address        string            `json:"address"`
}

type endpointPayload struct {
	MimeType []string `json:"mimeType"`
}

type imagingStudy struct {
	ResourceType      string          `json:"resourceType"`
	Identifier        []identifier    `json:"identifier"`
	Status            string          `json:"status"`
	Modality          []concept       `json:"modality,omitempty"`
	Subject           reference       `json:"subject"`
	Started           string          `json:"started,omitempty"`
	Endpoint          []reference     `json:"endpoint,omitempty"`
	NumberOfSeries    int             `json:"numberOfSeries"`
	NumberOfInstances int             `json:"numberOfInstances"`
	Description       string          `json:"description,omitempty"`
	Series            []imagingSeries `json:"series,omitempty"`
}

type imagingSeries struct {
	UID               string            `json:"uid"`
	Number            *int              `json:"number,omitempty"`
	Modality          concept           `json:"modality"`
	Description       string            `json:"description,omitempty"`
	NumberOfInstances int               `json:"numberOfInstances"`
	BodySite          *bodySite         `json:"bodySite,omitempty"`
	Instance          []imagingInstance `json:"instance,omitempty"`
}

// bodySite is a CodeableReference(BodyStructure), used with words alone.
type bodySite struct {
	Concept concept `json:"concept"`
}

type imagingInstance struct {
	UID      string `json:"uid"`
	SOPClass coding `json:"sopClass"`
	Number   *int   `json:"number,omitempty"`
}

type diagnosticReport struct {
	ResourceType       string       `json:"resourceType"`
	Meta               meta         `json:"meta"`
	Language           string       `json:"language"`
	Text               narrative    `json:"text"`
	Identifier         []identifier `json:"identifier"`
	BasedOn            []reference  `json:"basedOn,omitempty"`
	Status             string       `json:"status"`
	Category           []concept    `json:"category"`
	Code               concept      `json:"code"`
	Subject            reference    `json:"subject"`
	EffectiveDateTime  string       `json:"effectiveDateTime,omitempty"`
	Issued             string       `json:"issued"`
	Performer          []reference  `json:"performer"`
	ResultsInterpreter []reference  `json:"resultsInterpreter"`
	Study              []reference  `json:"study"`
	Conclusion         string       `json:"conclusion"`
	PresentedForm      []attachment `json:"presentedForm,omitempty"`
}
