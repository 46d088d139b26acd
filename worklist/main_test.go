package worklist_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

var everywhere = pacs.System("test")

// only is the scope of somebody at one facility.
func only(f pacs.Facility) pacs.Scope {
	return pacs.Scope{Who: "somebody", FacilityIDs: []int64{f.ID}}
}

var wantCode = worklisttest.WantCode

// ids of people, for the members of groups.
func ids(users ...*access.User) (list []int64) {
	for _, u := range users {
		list = append(list, u.ID)
	}
	return list
}
