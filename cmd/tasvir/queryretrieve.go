package main

import (
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
)

// queryRetrieve answers C-FIND, within what the calling device may see.
func (n *Node) queryRetrieve() *queryretrieve.Provider {
	return &queryretrieve.Provider{
		Index: n.Index, Files: &publish.Packs{Index: n.Index, Store: n.store}, AETitle: n.flags.AET,
		Caller: func(info *dimse.AssociationInfo) queryretrieve.Caller {
			device, _ := info.Value.(access.Device)
			return queryretrieve.Caller{
				Scope: device.Scope(), Query: device.Allows(access.Query), Retrieve: device.Allows(access.Retrieve),
				Charset: device.Charset, AnswerCharset: device.AnswerCharset,
			}
		},
		Log: n.log.With("part", "query/retrieve"),
	}
}
