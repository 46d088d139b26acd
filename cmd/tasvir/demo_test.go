package main

import (
	"reflect"
	"testing"

	"github.com/alecthomas/kong"
)

// The demo starts: whatever has a default in "serve" has a value there, too.
func TestDemoSettings(t *testing.T) {
	var cli struct {
		Serve ServeCmd `cmd:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"serve"}); err != nil {
		t.Fatal(err)
	}
	demo := (&DemoCmd{HTTP: "127.0.0.1:0", DICOM: "127.0.0.1:0"}).server(t.TempDir(), "http://127.0.0.1:1")
	if err := demo.check(); err != nil {
		t.Fatal(err)
	}
	var compare func(usual, demo reflect.Value)
	compare = func(usual, demo reflect.Value) {
		for i := range usual.NumField() {
			switch field := usual.Type().Field(i); {
			case field.Type.Kind() == reflect.Struct:
				compare(usual.Field(i), demo.Field(i))
			case !usual.Field(i).IsZero() && demo.Field(i).IsZero():
				t.Errorf("the demo has no %s", field.Name)
			}
		}
	}
	compare(reflect.ValueOf(cli.Serve.ServerFlags), reflect.ValueOf(demo))
}
