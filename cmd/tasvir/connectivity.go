package main

import (
	"crypto/tls"

	"github.com/tasvir-pacs/tasvir/pacs/connectivity"
)

// connectivity tests the devices that administrators register.
func (n *Node) connectivity() *connectivity.Tester {
	return &connectivity.Tester{
		CallingAE: n.flags.AET,
		Observe:   n.talk.Outgoing,
		TLS:       func() *tls.Config { return n.security.credentials.ClientConfig(n.security.profile) },
	}
}
