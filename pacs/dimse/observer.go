package dimse

import (
	"net"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// And tells both observers, this one first.
func (o Observer) And(other Observer) Observer {
	return Observer{
		AssociationOpened: func(info *AssociationInfo) {
			call1(o.AssociationOpened, info)
			call1(other.AssociationOpened, info)
		},
		AssociationClosed: func(info *AssociationInfo, d time.Duration) {
			call2(o.AssociationClosed, info, d)
			call2(other.AssociationClosed, info, d)
		},
		AssociationAborted: func(info *AssociationInfo, d time.Duration, err error) {
			call3(o.AssociationAborted, info, d, err)
			call3(other.AssociationAborted, info, d, err)
		},
		AssociationRejected: func(req *ul.AssociateRequest, remote net.Addr, err error) {
			call3(o.AssociationRejected, req, remote, err)
			call3(other.AssociationRejected, req, remote, err)
		},
		InstanceStored: func(req *StoreRequest, bytes int64, d time.Duration, status Status) {
			for _, f := range []func(*StoreRequest, int64, time.Duration, Status){o.InstanceStored, other.InstanceStored} {
				if f != nil {
					f(req, bytes, d, status)
				}
			}
		},
		Echoed: func(info *AssociationInfo) {
			call1(o.Echoed, info)
			call1(other.Echoed, info)
		},
		Operated: func(done *Operated) {
			call1(o.Operated, done)
			call1(other.Operated, done)
		},
	}
}

func call1[A any](f func(A), a A) {
	if f != nil {
		f(a)
	}
}

func call2[A, B any](f func(A, B), a A, b B) {
	if f != nil {
		f(a, b)
	}
}

func call3[A, B, C any](f func(A, B, C), a A, b B, c C) {
	if f != nil {
		f(a, b, c)
	}
}
