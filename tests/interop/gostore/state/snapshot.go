// SPDX-License-Identifier: MIT

// Package state is what a snapshot looks like to a Go program: plain structs with JSON tags, written and read by
// encoding/json. It was written from the wire format's description, not from the Go tool's source, and is held to
// that tool's recorded outputs by test_vectors.py. What it brings to the tests is Go's own encoding/json, time, path,
// base64 and crypto. The package name matters: Go puts it into error texts ("state.Snapshot").
package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

type FactoryInfo struct {
	Name            string `json:"name"`
	Version         string `json:"version"`
	ContentRevision string `json:"content-revision"`
}

type Binding struct {
	Alias       string `json:"alias"`
	LibraryPath string `json:"library-path,omitempty"`
	Kind        string `json:"kind,omitempty"`
}

type Entry struct {
	Address          string         `json:"address"`
	EntryKind        string         `json:"entry-kind"`
	Category         string         `json:"category,omitempty"`
	Binding          *Binding       `json:"binding,omitempty"`
	SchemaVersion    int            `json:"schema-version,omitempty"`
	SensitiveInputs  []string       `json:"sensitive-inputs,omitempty"`
	SensitiveOutputs []string       `json:"sensitive-outputs,omitempty"`
	TriggerHash      string         `json:"trigger-hash,omitempty"`
	Inputs           map[string]any `json:"inputs,omitempty"`
	Outputs          map[string]any `json:"outputs,omitempty"`
	DependsOn        []string       `json:"depends-on,omitempty"`
}

type Snapshot struct {
	FormatVersion int            `json:"format-version"`
	Factory       FactoryInfo    `json:"factory"`
	Stack         string         `json:"stack"`
	GeneratedAt   time.Time      `json:"generated-at"`
	Entries       []*Entry       `json:"entries"`
	Outputs       map[string]any `json:"outputs,omitempty"`
}

var categories = map[string][]string{
	"leaf":         {"resource"},
	"library-call": {"resource", "data-source", "action"},
	"action":       {"action"},
	"data-source":  {"data-source"},
}

func (s *Snapshot) validate() error {
	seen := map[string]bool{}
	for i, e := range s.Entries {
		if e == nil {
			return fmt.Errorf("snapshot: entries[%d] is nil", i)
		}
		if e.Address == "" {
			return fmt.Errorf("snapshot: entries[%d] missing address", i)
		}
		if seen[e.Address] {
			return fmt.Errorf("snapshot: duplicate address %q", e.Address)
		}
		seen[e.Address] = true
		if fault := e.fault(); fault != "" {
			return fmt.Errorf("snapshot: entry %q %s", e.Address, fault)
		}
	}
	return nil
}

func (e *Entry) fault() string {
	allowed, known := categories[e.EntryKind]
	switch {
	case e.EntryKind == "":
		return "missing entry-kind"
	case !known:
		return fmt.Sprintf("has unknown entry-kind %q", e.EntryKind)
	case e.Category == "":
		return "missing category"
	case !slices.Contains(allowed, e.Category):
		return fmt.Sprintf("has category %q", e.Category)
	case e.Binding == nil:
		return "binding missing"
	case e.Binding.Alias == "":
		return "binding missing alias"
	case e.Binding.Kind == "":
		return "binding missing kind"
	}
	return ""
}

// Indented is the layout of everything stored but the lock: two blanks, HTML escaping, one final line feed.
func Indented(value any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	err := enc.Encode(value)
	return out.Bytes(), err
}

func (s *Snapshot) Encode() ([]byte, error) {
	if s.FormatVersion != 1 {
		return nil, fmt.Errorf("snapshot: format-version is %d, expected 1", s.FormatVersion)
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	return Indented(s)
}

func Decode(data []byte) (*Snapshot, error) {
	var s Snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if s.FormatVersion != 1 {
		return nil, fmt.Errorf("snapshot: unsupported format-version %d (this build expects 1)", s.FormatVersion)
	}
	return &s, s.validate()
}

// A revision's place in history: unparsable names last, then instant, numeric suffix and bytes.
func revisionKey(rev string) (time.Time, int, bool) {
	base, tail, suffixed := strings.Cut(rev, "_")
	at, err := time.Parse(time.RFC3339Nano, base)
	if err != nil {
		return time.Time{}, 0, false
	}
	if !suffixed {
		return at, 0, true
	}
	n, err := strconv.Atoi(tail)
	return at, n, err == nil && n >= 1
}

func SortRevisions(revs []string) []string {
	sorted := append([]string{}, revs...)
	slices.SortStableFunc(sorted, func(a, b string) int {
		at, an, aok := revisionKey(a)
		bt, bn, bok := revisionKey(b)
		switch {
		case aok != bok && aok:
			return -1
		case aok != bok:
			return 1
		case aok && !at.Equal(bt):
			return at.Compare(bt)
		case aok && an != bn:
			return an - bn
		}
		return strings.Compare(a, b)
	})
	return sorted
}
