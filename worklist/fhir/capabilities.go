package fhir

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Capabilities is what matters here of a platform's CapabilityStatement.
type Capabilities struct {
	FHIRVersion string
	resources   map[string]resourceCapability
}

type resourceCapability struct {
	create, conditionalCreate bool
}

// Creates tells whether the platform takes new resources of this type.
func (c Capabilities) Creates(resourceType string) bool { return c.resources[resourceType].create }

// ConditionalCreate tells whether the platform itself refuses to create twice
// what matches a search (R5 http, 3.2.0.9.1, If-None-Exist).
func (c Capabilities) ConditionalCreate(resourceType string) bool {
	return c.resources[resourceType].conditionalCreate
}

// ParseCapabilities reads a CapabilityStatement. A platform of another version
// than R5 is an error.
func ParseCapabilities(statement []byte) (Capabilities, error) {
	var read struct {
		ResourceType string `json:"resourceType"`
		FHIRVersion  string `json:"fhirVersion"`
		Rest         []struct {
			Mode     string `json:"mode"`
			Resource []struct {
				Type        string `json:"type"`
				Interaction []struct {
					Code string `json:"code"`
				} `json:"interaction"`
				ConditionalCreate bool `json:"conditionalCreate"`
			} `json:"resource"`
		} `json:"rest"`
	}
	if err := json.Unmarshal(statement, &read); err != nil || read.ResourceType != "CapabilityStatement" {
		return Capabilities{}, fmt.Errorf("what answers at /metadata is not a FHIR CapabilityStatement: check the platform's address")
	}
	if !strings.HasPrefix(read.FHIRVersion, "5.") {
		return Capabilities{}, fmt.Errorf("the platform speaks FHIR %s; reports are sent as R5 (5.0.0)", clip(read.FHIRVersion, 20))
	}
	caps := Capabilities{FHIRVersion: read.FHIRVersion, resources: map[string]resourceCapability{}}
	for _, rest := range read.Rest {
		if rest.Mode != "server" {
			continue
		}
		for _, resource := range rest.Resource {
			one := resourceCapability{conditionalCreate: resource.ConditionalCreate}
			for _, interaction := range resource.Interaction {
				one.create = one.create || interaction.Code == "create"
			}
			caps.resources[resource.Type] = one
		}
	}
	return caps, nil
}
