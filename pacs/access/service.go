package access

import (
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Service is something a remote AE may ask of the archive. Verification
// (C-ECHO) needs no leave: whoever is admitted may ask whether we answer.
type Service string

const (
	Store      Service = "store"      // send us images: C-STORE
	Query      Service = "query"      // C-FIND on the patient and study roots
	Retrieve   Service = "retrieve"   // C-MOVE, C-GET
	Worklist   Service = "worklist"   // modality worklist, C-FIND
	MPPS       Service = "mpps"       // modality performed procedure step, N-CREATE and N-SET
	Commitment Service = "commitment" // storage commitment, N-ACTION
	UPS        Service = "ups"        // unified procedure step
)

// Services lists all services in the order in which they are shown.
var Services = []Service{Store, Query, Retrieve, Worklist, MPPS, Commitment, UPS}

// DefaultServices is what a device may do of which nobody said more: send
// images and ask whether they are safe. All else shows patients to whoever
// calls with its AE title.
func DefaultServices() []Service { return []Service{Store, Commitment} }

// checkServices returns the services in order, each once; nil becomes
// DefaultServices, an empty list stays empty.
func checkServices(list []Service) ([]Service, error) {
	if list == nil {
		return DefaultServices(), nil
	}
	for _, s := range list {
		if !slices.Contains(Services, s) {
			return nil, pacs.Errorf(pacs.Invalid, "%q is not a service; there are %v", s, Services)
		}
	}
	ordered := []Service{}
	for _, s := range Services {
		if slices.Contains(list, s) {
			ordered = append(ordered, s)
		}
	}
	return ordered, nil
}
