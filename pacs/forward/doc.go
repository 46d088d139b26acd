// Package forward sends studies elsewhere by rules: to other application entities
// by C-STORE, to DICOMweb nodes by STOW-RS, at once or in a time window, until they
// are there.
//
// # Rules
//
// A [Rule] (rule.go) has an occasion: a study is complete, images of it have
// arrived, or an order was entered. Of those of its facilities it asks a condition
// ([Conditions], subject.go), of the study or of each series, and names a [Target]
// (target.go): a registered device, or a DICOMweb node that is kept here. A rule
// with [Priors] sends not the study itself but the earlier ones of its patient
// (priors.go), of those that the target may see. [Forwarding.Try] (trial.go) tells
// what a rule would have matched.
//
// # From occasion to queue
//
// The transaction that completes a study, indexes images or enters an order adds a
// job ([Enqueue], decide.go), so that no occasion is lost. The job asks the rules
// and queues what they want: one [Item] (queue.go) for each rule and study, or
// series, however often it is asked for.
//
// # From queue to target
//
// [Forwarding.Run] claims items in the order of their priority (claim.go): of the
// targets that have room. A job per item would not do: thousands of them may wait for
// one target that is switched off, or for the night, and be paused and cancelled
// meanwhile. A target that can't be reached rests, longer and longer, is asked again
// with one item, and stalls no other. A claim lasts twenty seconds and is renewed:
// what a node was at that is killed, another takes up.
//
// An attempt (send.go) sends those instances that were not sent yet, which
// record.go writes down as they are answered: an item that is tried again, or to
// whose study images are added, goes on where it was. A version that superseded
// another counts as new. Devices are sent to as by C-MOVE (queryretrieve.Transfer),
// DICOMweb nodes by a [Storer], some instances in each request (node.go). An attempt
// ends early when its time window closes (window.go) or somebody pauses the item,
// its rule or its target, and what is under way is completed.
//
// A rejection note follows the images that it rejects (notes.go): a target that has
// been sent some of them gets it, also when nothing of the study is shown any more.
// Images that are rejected are not sent themselves.
//
// An item is sent when its target has answered so for every instance. What was
// refused for good has failed; all else is tried again, for as long as the rule
// says. An administrator can pause, resume, cancel, retry and replay, which sends
// everything anew; whatever they do is in the audit trail.
//
// # What is not sent by itself
//
// Corrections of a patient, and merged patients, are put into whatever is sent from
// then on (pacs.Amendment), and nothing is sent again for their sake: the target has
// instances of the same UIDs already, and most archives keep those they have. An
// administrator who knows that a target takes the newer replays the items of the
// study. Where the standard's way is wanted (IHE RAD TF-2 4.66), reject the images as
// of an incorrect worklist entry and send those that the modality has corrected: the
// note and the new images are forwarded.
//
// # Secrets
//
// Password or token of a DICOMweb node stand in the table forward_target as they were
// given, since they must be said as they are. They are never read back through the
// API, and sent nowhere but to the address they were given for. Who can read the
// database, or a copy of it, can read them, as everything else in it: give each
// archive an account of its own at the node, which may do nothing but store.
package forward
