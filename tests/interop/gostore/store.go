// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"gostore/state"
)

var errNoCurrent = errors.New("no current snapshot")

// store keeps one stack as the wire format says, with the AWS SDK as it comes: its retries are on.
type store struct {
	client *s3.Client
	bucket string
	dir    string
	seal   state.Encrypter
	poll   time.Duration
	who    string
}

func (s *store) snapshotKey(rev string) string { return path.Join(s.dir, "snapshots", rev+".json.enc") }
func (s *store) currentKey() string            { return path.Join(s.dir, "current") }
func (s *store) lockKey() string               { return path.Join(s.dir, "lock") }

func hasCode(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}

func absent(err error) bool { return hasCode(err, "NoSuchKey", "NotFound") }
func taken(err error) bool  { return hasCode(err, "PreconditionFailed", "ConditionalRequestConflict") }

func (s *store) put(key string, body []byte, create bool) error {
	in := &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(body)}
	if create {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := s.client.PutObject(context.Background(), in)
	return err
}

func (s *store) fetch(key string) ([]byte, error) {
	out, err := s.client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func (s *store) remove(key string) error {
	_, err := s.client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	return err
}

// write stores under base, or under base_1 to base_99 when it is taken. base is the present moment when empty.
func (s *store) write(snapshot *state.Snapshot, base string) (string, error) {
	body, err := snapshot.Encode()
	if err != nil {
		return "", err
	}
	sealed, err := state.Seal(body, "state", s.seal)
	if err != nil {
		return "", err
	}
	if base == "" {
		base = time.Now().UTC().Format(time.RFC3339Nano)
	}
	rev := base
	for n := 1; n <= 100; n++ {
		err = s.put(s.snapshotKey(rev), sealed, true)
		if err == nil {
			return rev, nil
		}
		if !taken(err) {
			return "", fmt.Errorf("s3 store: write %s: %w", rev, err)
		}
		rev = fmt.Sprintf("%s_%d", base, n)
	}
	return "", errors.New("s3 store: could not allocate fresh revision after 100 attempts")
}

func (s *store) setCurrent(rev string) error {
	key := s.snapshotKey(rev)
	_, err := s.client.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	if err == nil {
		err = s.put(s.currentKey(), []byte(rev+"\n"), false)
	}
	if err != nil {
		return fmt.Errorf("set-current %s: %w", rev, err)
	}
	return nil
}

func (s *store) currentRev() (string, error) {
	body, err := s.fetch(s.currentKey())
	if err != nil && !absent(err) {
		return "", err
	}
	rev := strings.TrimSpace(string(body))
	if rev == "" {
		return "", errNoCurrent
	}
	return rev, nil
}

func (s *store) get(rev string) ([]byte, error) {
	data, err := s.fetch(s.snapshotKey(rev))
	if err != nil {
		return nil, fmt.Errorf("s3 store: get %s: %w", rev, err)
	}
	body, err := state.Open(data, "state", s.seal)
	if err != nil {
		return nil, fmt.Errorf("s3 store: open %s: %w", rev, err)
	}
	snapshot, err := state.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("s3 store: open %s: %w", rev, err)
	}
	return snapshot.Encode()
}

func (s *store) list() ([]string, error) {
	prefix := path.Join(s.dir, "snapshots") + "/"
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix})
	revs := []string{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return nil, fmt.Errorf("s3 store: list: %w", err)
		}
		for _, object := range page.Contents {
			if name, ok := strings.CutSuffix(strings.TrimPrefix(*object.Key, prefix), ".json.enc"); ok {
				revs = append(revs, name)
			}
		}
	}
	return state.SortRevisions(revs), nil
}

type lockBody struct {
	ID      string    `json:"id"`
	Who     string    `json:"who"`
	Created time.Time `json:"created"`
}

func holderName() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		host = h
	}
	return name + "@" + host
}

func (s *store) lock(wait time.Duration) (string, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // since Go 1.24 it cannot fail
	body, err := json.Marshal(lockBody{hex.EncodeToString(id), s.who, time.Now().UTC()})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for {
		err := s.put(s.lockKey(), body, true)
		if err == nil {
			return hex.EncodeToString(id), nil
		}
		if !taken(err) {
			return "", fmt.Errorf("s3 store: lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return "", s.gaveUp(ctx.Err())
		case <-time.After(s.poll):
		}
	}
}

func (s *store) gaveUp(cause error) error {
	body, err := s.fetch(s.lockKey())
	if absent(err) {
		return cause
	}
	return fmt.Errorf("%w; %s", cause, holderMessage(body))
}

func holderMessage(body []byte) string {
	var held lockBody
	if json.Unmarshal(body, &held) != nil {
		return "state locked; run 'state force-unlock' if the holder is gone"
	}
	since := held.Created.Format(time.RFC3339)
	return fmt.Sprintf("state locked by %s since %s; run 'state force-unlock' if the holder is gone", held.Who, since)
}

// contend takes the lock again and again; a file that only one may create shows a second holder inside.
// Without the rest after each turn, the holder would win nearly always, for the others sleep between their tries.
func (s *store) contend(rounds int, marker, journal string, hold, rest time.Duration) (overlaps int, err error) {
	for range rounds {
		id, err := s.lock(10 * time.Minute)
		if err != nil {
			return overlaps, err
		}
		file, clash := os.OpenFile(marker, os.O_CREATE|os.O_EXCL, 0o600)
		if clash != nil {
			overlaps++
		} else {
			time.Sleep(hold)
			file.Close()
			os.Remove(marker)
		}
		line, err := os.OpenFile(journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return overlaps, err
		}
		fmt.Fprintf(line, "go %s\n", id)
		line.Close()
		if err := s.remove(s.lockKey()); err != nil {
			return overlaps, err
		}
		time.Sleep(rest)
	}
	return overlaps, nil
}
