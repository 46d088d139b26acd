package dimse

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func TestClientContextEndsAnExchange(t *testing.T) {
	inside := make(chan struct{})
	leave := make(chan struct{})
	addr, _ := start(t, &Server{Store: StoreHandlerFunc(func(_ context.Context, req *StoreRequest) Status {
		close(inside)
		<-leave
		return Status{}
	})})
	c := dial(t, addr, ctKind)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-inside
		cancel()
	}()
	_, err := c.Store(ctx, item("1.2", []byte("x")))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Store returned %v", err)
	}
	close(leave)
	c.Close()
}

// A provider that answers nonsense.
func TestClientChecksResponses(t *testing.T) {
	good := newResponse(Command{}, Status{})
	good.SetUint16(CommandField, uint16(CEchoRSP))
	good.SetUint16(MessageIDBeingRespondedTo, 1)
	tests := []struct {
		name string
		edit func(*Command)
		ok   bool
	}{
		{"good", func(*Command) {}, true},
		{"another operation", func(c *Command) { c.SetUint16(CommandField, uint16(CStoreRSP)) }, false},
		{"another message", func(c *Command) { c.SetUint16(MessageIDBeingRespondedTo, 2) }, false},
		{"a data set", func(c *Command) { c.SetUint16(CommandDataSetType, hasDataSet) }, false},
		{"no status", func(c *Command) { c.elements = c.elements[:3] }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rsp, err := ParseCommand(good.Encode())
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(&rsp)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				a, err := ul.Accept(context.Background(), nc, ul.AcceptorConfig{Decide: func(*ul.AssociateRequest) (ul.AcceptorPolicy, error) {
					return ul.AcceptorPolicy{Choose: func(abstract string, proposed []string) (string, ul.Result) {
						return SOPClasses{}.choose(abstract, proposed, false)
					}}, nil
				}})
				if err != nil {
					return
				}
				defer a.Close()
				if _, _, err := a.ReadCommand(); err == nil {
					_ = a.Send(1, rsp.Encode(), nil)
					_, _, _ = a.ReadCommand()
				}
			}()
			c := dial(t, ln.Addr().String())
			if status, err := c.Echo(context.Background()); (err == nil) != tt.ok {
				t.Errorf("got %s, %v", status, err)
			}
			c.Close()
			<-done
		})
	}
}
