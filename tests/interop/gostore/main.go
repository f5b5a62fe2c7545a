// SPDX-License-Identifier: MIT

// gostore answers JSON lines: {"op": ..., arguments} on stdin, {"ok": ...} or {"error": text, "kind": word} on stdout.
// One request at a time, in order. Bytes travel as base64, as encoding/json writes []byte. See README.md beside it
// for what this program is and is not.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"gostore/state"
)

type encrypterSpec struct {
	Name     string         `json:"name"`
	Variable string         `json:"env-var"`
	KeyID    string         `json:"key-id"`
	Body     map[string]any `json:"body"`
}

type request struct {
	Op        string        `json:"op"`
	Store     int           `json:"store"`
	Endpoint  string        `json:"endpoint"`
	KMS       string        `json:"kms-endpoint"`
	Region    string        `json:"region"`
	AccessKey string        `json:"access-key"`
	SecretKey string        `json:"secret-key"`
	Bucket    string        `json:"bucket"`
	Prefix    string        `json:"prefix"`
	Factory   string        `json:"factory"`
	Stack     string        `json:"stack"`
	Encrypter encrypterSpec `json:"encrypter"`
	PollMS    int           `json:"poll-ms"`
	Who       string        `json:"who"`
	Rev       string        `json:"rev"`
	Data      []byte        `json:"data"`
	TimeoutMS int           `json:"timeout-ms"`
	Rounds    int           `json:"rounds"`
	HoldMS    int           `json:"hold-ms"`
	RestMS    int           `json:"rest-ms"`
	Marker    string        `json:"marker"`
	Journal   string        `json:"journal"`
	Payload   string        `json:"payload-type"`
	Items     [][]byte      `json:"items"`
	Texts     []string      `json:"texts"`
	Parts     [][]string    `json:"parts"`
	Nanos     []int64       `json:"nanos"`
}

// outcome is one answer inside a batch.
type outcome struct {
	OK    []byte `json:"ok,omitempty"`
	Error string `json:"error,omitempty"`
}

type program struct{ stores []*store }

func (r *request) config(endpoint string) aws.Config {
	keys := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: r.AccessKey, SecretAccessKey: r.SecretKey}, nil
	})
	cfg := aws.Config{Region: r.Region, Credentials: keys, BaseEndpoint: &endpoint}
	cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	cfg.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	return cfg
}

func (r *request) encrypter() (state.Encrypter, error) {
	switch r.Encrypter.Name {
	case "noop":
		return state.Noop{}, nil
	case "env-key":
		return state.EnvKey{Variable: r.Encrypter.Variable}, nil
	case "kms":
		client := kms.NewFromConfig(r.config(r.KMS))
		return &state.KMS{Client: client, KeyID: r.Encrypter.KeyID, Body: r.Encrypter.Body}, nil
	}
	return nil, fmt.Errorf("no encrypter named %q", r.Encrypter.Name)
}

func (p *program) open(r *request) (any, error) {
	seal, err := r.encrypter()
	if err != nil {
		return nil, err
	}
	s := &store{bucket: r.Bucket, dir: path.Join(r.Prefix, r.Factory, r.Stack), seal: seal, who: r.Who}
	s.client = s3.NewFromConfig(r.config(r.Endpoint), func(o *s3.Options) { o.UsePathStyle = true })
	s.poll = time.Duration(r.PollMS) * time.Millisecond
	if s.who == "" {
		s.who = holderName()
	}
	p.stores = append(p.stores, s)
	return len(p.stores) - 1, nil
}

func (p *program) answer(r *request) (any, error) {
	if result, err, known := codec(r); known {
		return result, err
	}
	if r.Op == "open" {
		return p.open(r)
	}
	if r.Store >= len(p.stores) {
		return nil, fmt.Errorf("no store %d", r.Store)
	}
	return stored(p.stores[r.Store], r)
}

func stored(s *store, r *request) (any, error) {
	switch r.Op {
	case "write":
		snapshot, err := state.Decode(r.Data)
		if err != nil {
			return nil, err
		}
		return s.write(snapshot, r.Rev)
	case "set-current":
		return nil, s.setCurrent(r.Rev)
	case "current-rev":
		return s.currentRev()
	case "current":
		rev, err := s.currentRev()
		if err != nil {
			return nil, err
		}
		return s.get(rev)
	case "get":
		return s.get(r.Rev)
	case "list":
		return s.list()
	case "delete":
		return nil, s.remove(s.snapshotKey(r.Rev))
	case "lock":
		return s.lock(time.Duration(r.TimeoutMS) * time.Millisecond)
	case "unlock", "force-unlock": // the format knows no difference: both delete what is there
		return nil, s.remove(s.lockKey())
	case "contend":
		hold, rest := time.Duration(r.HoldMS)*time.Millisecond, time.Duration(r.RestMS)*time.Millisecond
		return s.contend(r.Rounds, r.Marker, r.Journal, hold, rest)
	}
	return nil, fmt.Errorf("no operation named %q", r.Op)
}

func batch(items [][]byte, do func([]byte) ([]byte, error)) []outcome {
	out := make([]outcome, len(items))
	for i, item := range items {
		if ok, err := do(item); err != nil {
			out[i] = outcome{Error: err.Error()}
		} else {
			out[i] = outcome{OK: ok}
		}
	}
	return out
}

// codec holds the operations that need no bucket. The last result says whether the operation is one of them.
func codec(r *request) (any, error, bool) {
	switch r.Op {
	case "hello":
		return "gostore 1", nil, true
	case "setenv":
		return nil, os.Setenv(r.Texts[0], r.Texts[1]), true
	case "recode": // snapshot bytes in, what Go would store for them out
		return batch(r.Items, func(data []byte) ([]byte, error) {
			snapshot, err := state.Decode(data)
			if err != nil {
				return nil, err
			}
			return snapshot.Encode()
		}), nil, true
	case "seal", "unseal":
		seal, err := r.encrypter()
		if err != nil {
			return nil, err, true
		}
		transform := state.Seal
		if r.Op == "unseal" {
			transform = state.Open
		}
		return batch(r.Items, func(data []byte) ([]byte, error) { return transform(data, r.Payload, seal) }), nil, true
	case "lock-recode":
		return batch(r.Items, func(data []byte) ([]byte, error) {
			var held lockBody
			if err := json.Unmarshal(data, &held); err != nil {
				return nil, err
			}
			return json.Marshal(held)
		}), nil, true
	case "lock-message":
		return batch(r.Items, func(data []byte) ([]byte, error) { return []byte(holderMessage(data)), nil }), nil, true
	}
	return texts(r)
}

func texts(r *request) (any, error, bool) {
	switch r.Op {
	case "trim":
		return batch(r.Items, func(data []byte) ([]byte, error) { return []byte(strings.TrimSpace(string(data))), nil }), nil, true
	case "time": // parsed and printed as encoding/json does
		return batch(r.Items, func(data []byte) ([]byte, error) {
			at, err := time.Parse(time.RFC3339, string(data))
			if err != nil {
				return nil, err
			}
			return at.MarshalJSON()
		}), nil, true
	case "instant": // seconds since 1970 and nanoseconds, which for times before the year 1678 no int64 holds together
		return batch(r.Items, func(data []byte) ([]byte, error) {
			at, err := time.Parse(time.RFC3339, string(data))
			return fmt.Appendf(nil, "%d %d", at.Unix(), at.Nanosecond()), err
		}), nil, true
	case "sort-revisions":
		return state.SortRevisions(r.Texts), nil, true
	case "join":
		out := []string{}
		for _, parts := range r.Parts {
			out = append(out, path.Join(parts...))
		}
		return out, nil, true
	case "format-time":
		out := []string{}
		for _, n := range r.Nanos {
			out = append(out, time.Unix(0, n).UTC().Format(time.RFC3339Nano))
		}
		return out, nil, true
	}
	return nil, nil, false
}

func kind(err error) string {
	switch {
	case errors.Is(err, errNoCurrent):
		return "no-current"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case absent(err):
		return "absent"
	}
	return "other"
}

func main() {
	p, in, out := &program{}, bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			_ = out.Encode(map[string]string{"error": err.Error(), "kind": "protocol"})
			continue
		}
		if result, err := p.answer(&r); err != nil {
			_ = out.Encode(map[string]string{"error": err.Error(), "kind": kind(err)})
		} else {
			_ = out.Encode(map[string]any{"ok": result})
		}
	}
}
