// Package condition is the conditions that administrators write into rules: CEL
// expressions (cel.dev) over what the archive knows of a study, such as
//
//	"CT" in study.modalities && study.patient_age < 18
//
// A [Language] has the variables of one kind of rule. [StudyVariables] are those
// that all of them share; each adds its own: orders for the routing of reading
// tasks, series for forwarding. A condition is compiled when a rule is saved, and
// tried on an ordinary subject, so that a misspelt variable, a comparison that can
// never hold and what costs too much are refused at once, and not found out when a
// study is not where it should be.
package condition
