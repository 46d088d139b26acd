package ups

import "fmt"

// Notes are what a conformance statement says of the service, PS3.4 CC.4.2.1.
func Notes() []string {
	days := func(hours float64) int { return int(hours / 24) }
	return []string{
		"A step is created by N-CREATE and UPS-RS, and for each study that is complete and waits to be read. A step that is pushed with the workitem code (110005, DCM, \"Interpretation\") for a study that waits to be read takes the place of the archive's own, which is canceled.",
		"N-CREATE adds attributes of type 2 that are absent. What may not come with it, and what must be created empty, is dropped; the status is B300 then. A Worklist Label without a value becomes \"Worklist\".",
		"A reading that a person claims in the client is IN PROGRESS, with the person as actual human performer; one that is signed is COMPLETED; one that is released is CANCELED, and another step replaces it. A reading that its performer cancels without having been asked to is replaced as well.",
		"A cancel request for a reading that a person holds, or for a step that nobody is subscribed to, is answered C312.",
		"After a final state nothing is changed. For readings the patient, the priority and the expected completion are those of the archive at the time of the answer.",
		fmt.Sprintf("An ended step can be asked for during %d days; with a deletion lock until that is released, at most %d days.", days(keptEnded.Hours()), days(keptLocked.Hours())),
		"The priority of C-FIND is ignored. Person names are matched without regard to case and to script. Dates and times are on the clock of the archive; Timezone Offset From UTC is ignored, an offset within a value is not.",
		"A device gets steps of its facility, or all if it may read every facility. Specific Character Set is that which is registered for the device, else that of the request, else UTF-8.",
		"A subscription is refused for a receiving AE that is not registered, may not use the service, or belongs to another facility. Deletion locks are granted.",
		fmt.Sprintf("Events are sent over the association of the subscriber that has the event class accepted, else over a new one to its registered address; they are repeated for %d hours. One may arrive twice.", int(keptEvents.Hours())),
		"Input is retrieved by the DICOM retrieval sequence.",
	}
}
