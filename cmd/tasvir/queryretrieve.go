package main

import (
	"context"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
)

// queryRetrieve answers C-FIND, C-MOVE and C-GET, within what the calling device
// may see.
func (n *Node) queryRetrieve() *queryretrieve.Provider {
	return &queryretrieve.Provider{
		Index: n.Index, Files: &publish.Packs{Index: n.Index, Store: n.store}, AETitle: n.flags.AET,
		Destinations: n.destinations(),
		Caller: func(info *dimse.AssociationInfo) queryretrieve.Caller {
			device, _ := info.Value.(access.Device)
			return queryretrieve.Caller{
				Scope: device.Scope(), Query: device.Allows(access.Query), Retrieve: device.Allows(access.Retrieve),
				Charset: device.Charset, AnswerCharset: device.AnswerCharset,
			}
		},
		Transcoder: n.transcoder(),
		Log:        n.log.With("part", "query/retrieve"),
	}
}

// destinations are the registered devices that images may be sent to.
type destinations struct {
	access   *access.Access
	security dicomSecurity
	observe  func(*dimse.Outgoing)
	places   *queryretrieve.Places
}

// destinations are those of C-MOVE and of forwarding, which together keep to what
// a device takes.
func (n *Node) destinations() *destinations {
	return &destinations{access: n.Access, security: n.security, observe: n.talk.Outgoing, places: &n.places}
}

// destinationTimeout bounds the wait for a destination's TLS.
const destinationTimeout = 15 * time.Second

// Destination is queryretrieve.Destinations.
func (d *destinations) Destination(ctx context.Context, aeTitle string) (queryretrieve.Destination, error) {
	device, err := d.access.Remote(ctx, aeTitle)
	if err != nil {
		return queryretrieve.Destination{}, err
	}
	if !device.Destination {
		return queryretrieve.Destination{}, pacs.Errorf(pacs.NotFound, "%q is not a destination for images. Make it one under Administration, Devices", aeTitle)
	}
	return queryretrieve.Destination{
		AETitle: device.AETitle, Address: device.Address(), TransferSyntaxes: device.TransferSyntaxes, Associations: device.MaxAssociationsTo,
		Limit: device.MaxAssociationsTo, Places: d.places,
		DialContext: d.security.connect(device, destinationTimeout), Observe: d.observe,
	}, nil
}
