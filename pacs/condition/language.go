package condition

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Bounds of a condition, so that a rule can't stall what is decided by others.
const (
	maxCost   = 100_000 // CEL's units of work, some milliseconds
	maxLength = 2_000   // characters
	// maxCompiled is how many conditions are kept compiled.
	maxCompiled = 1_000
)

// Variable is something that a condition may speak of.
type Variable[T any] struct {
	Name string // with a dot: study.sex
	Type *cel.Type
	Of   func(T) any
}

// Language is the conditions over subjects of one kind. Safe for concurrent use.
type Language[T any] struct {
	variables []Variable[T]
	trial     T
	env       *cel.Env

	mu       sync.Mutex
	compiled map[string]*Condition[T] // by source; conditions are few
}

// NewLanguage makes a language of variables. trial is an ordinary subject, that
// new conditions are tried on. Variables that CEL can't declare are a mistake of
// the program, and panic.
func NewLanguage[T any](trial T, variables []Variable[T]) *Language[T] {
	var declared []cel.EnvOption
	for _, v := range variables {
		declared = append(declared, cel.Variable(v.Name, v.Type))
	}
	env, err := cel.NewEnv(declared...)
	if err != nil {
		panic(err)
	}
	return &Language[T]{variables: variables, trial: trial, env: env, compiled: map[string]*Condition[T]{}}
}

// Variables are those of the language, as they were given.
func (l *Language[T]) Variables() []Variable[T] { return l.variables }

// Condition is a compiled condition.
type Condition[T any] struct {
	language *Language[T]
	program  cel.Program // nil: always
}

// Compile understands a condition; an empty one always holds. Invalid, with the
// reason rule_condition, when it can't be used.
func (l *Language[T]) Compile(source string) (*Condition[T], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.compiled[source]; ok {
		return c, nil
	}
	c, err := l.compile(source)
	if err != nil {
		return nil, pacs.Errorf(pacs.Invalid, "The condition can't be used: %s", err).WithReason("rule_condition", "")
	}
	if len(l.compiled) >= maxCompiled {
		clear(l.compiled) // of rules long changed
	}
	l.compiled[source] = c
	return c, nil
}

func (l *Language[T]) compile(source string) (*Condition[T], error) {
	c := &Condition[T]{language: l}
	if strings.TrimSpace(source) == "" {
		return c, nil
	}
	if utf8.RuneCountInString(source) > maxLength {
		return nil, fmt.Errorf("it is longer than %d characters", maxLength)
	}
	ast, issues := l.env.Compile(source)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if kind := ast.OutputType(); kind != cel.BoolType {
		return nil, fmt.Errorf("it gives %s, not true or false", kind)
	}
	var err error
	if c.program, err = l.env.Program(ast, cel.CostLimit(maxCost)); err != nil {
		return nil, err
	}
	// What costs too much, or fails on an ordinary subject, only shows when the
	// condition runs.
	_, err = c.Holds(l.trial)
	return c, err
}

// Holds says whether the condition is true of a subject. An error may quote what
// is known of a patient.
func (c *Condition[T]) Holds(subject T) (bool, error) {
	if c.program == nil {
		return true, nil
	}
	values := make(map[string]any, len(c.language.variables))
	for _, v := range c.language.variables {
		values[v.Name] = v.Of(subject)
	}
	value, _, err := c.program.Eval(values)
	if err != nil {
		return false, err
	}
	held, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gives %v, not true or false", value.Type())
	}
	return held, nil
}
