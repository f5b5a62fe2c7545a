// SPDX-License-Identifier: MIT

package state

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

type EncrypterRef struct {
	Name string         `json:"name"`
	Body map[string]any `json:"body,omitempty"`
}

type Envelope struct {
	EnvelopeVersion int           `json:"envelope-version"`
	PayloadType     string        `json:"payload-type,omitempty"`
	Encrypter       *EncrypterRef `json:"encrypter,omitempty"`
	Ciphertext      []byte        `json:"ciphertext"`
}

type Encrypter interface {
	Encrypt(plaintext []byte) ([]byte, error)
	Decrypt(blob []byte) ([]byte, error)
	Describe() (string, map[string]any)
}

func Seal(body []byte, payloadType string, e Encrypter) ([]byte, error) {
	if payloadType == "" {
		return nil, fmt.Errorf("envelope: payload-type is required")
	}
	blob, err := e.Encrypt(body)
	if err != nil {
		return nil, fmt.Errorf("seal: encrypt: %w", err)
	}
	name, config := e.Describe()
	return Indented(Envelope{1, payloadType, &EncrypterRef{name, config}, blob})
}

func Open(data []byte, payloadType string, e Encrypter) ([]byte, error) {
	var env Envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	if env.EnvelopeVersion != 1 {
		return nil, fmt.Errorf("envelope: unsupported envelope-version %d (this build expects 1)", env.EnvelopeVersion)
	}
	if env.PayloadType != "" && env.PayloadType != payloadType {
		return nil, fmt.Errorf("envelope: payload-type %s, expected %s", env.PayloadType, payloadType)
	}
	body, err := e.Decrypt(env.Ciphertext)
	if err != nil {
		return nil, fmt.Errorf("open: decrypt: %w%s", err, env.Encrypter.hint())
	}
	return body, nil
}

func (r *EncrypterRef) hint() string {
	if r == nil {
		return ""
	}
	for _, member := range []string{"key-id", "env-var"} {
		if text, _ := r.Body[member].(string); text != "" {
			return fmt.Sprintf(" (sealed with %s %s %s)", r.Name, member, text)
		}
	}
	return fmt.Sprintf(" (sealed with %s)", r.Name)
}

type Noop struct{}

func (Noop) Encrypt(plaintext []byte) ([]byte, error) { return plaintext, nil }
func (Noop) Decrypt(blob []byte) ([]byte, error)      { return blob, nil }
func (Noop) Describe() (string, map[string]any)       { return "noop", nil }
func (k EnvKey) Describe() (string, map[string]any) {
	return "env-key", map[string]any{"env-var": k.Variable}
}
func (k EnvKey) Encrypt(plaintext []byte) ([]byte, error) {
	key, err := k.key()
	if err != nil {
		return nil, err
	}
	return gcmSeal(key, plaintext)
}

// EnvKey reads its key at every use, so that a test may change the variable.
type EnvKey struct{ Variable string }

func (k EnvKey) key() ([]byte, error) {
	text := os.Getenv(k.Variable)
	if text == "" {
		return nil, fmt.Errorf("env-key encrypter: %s is not set", k.Variable)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("env-key encrypter: %s is not valid base64: %w", k.Variable, err)
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("env-key encrypter: %s decodes to %d bytes, want 32", k.Variable, len(key))
	}
	return key, nil
}

func (k EnvKey) Decrypt(blob []byte) ([]byte, error) {
	key, err := k.key()
	if err != nil {
		return nil, err
	}
	return gcmOpen(key, blob, "env-key encrypter: ciphertext")
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func gcmSeal(key, plaintext []byte) ([]byte, error) {
	gcm, err := aead(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce) // since Go 1.24 it cannot fail
	return gcm.Seal(nonce, nonce, plaintext, nil), nil
}

func gcmOpen(key, blob []byte, what string) ([]byte, error) {
	gcm, err := aead(key)
	if err != nil {
		return nil, err
	}
	if len(blob) < gcm.NonceSize() {
		return nil, fmt.Errorf("%s shorter than nonce", what)
	}
	return gcm.Open(nil, blob[:gcm.NonceSize()], blob[gcm.NonceSize():], nil)
}

// KMS makes one data key and uses it for every write, and sends no KeyId to Decrypt, as the wire format says.
type KMS struct {
	Client *kms.Client
	KeyID  string
	Body   map[string]any // the operator's block, recorded with key-id replaced by the ARN

	plain, wrapped []byte
	arn            string
}

type kmsBlob struct {
	Version      int    `json:"version"`
	EncryptedKey []byte `json:"encrypted-key"`
	Payload      []byte `json:"payload"`
}

func (k *KMS) Encrypt(plaintext []byte) ([]byte, error) {
	if k.plain == nil {
		in := &kms.GenerateDataKeyInput{KeyId: &k.KeyID, KeySpec: kmstypes.DataKeySpecAes256}
		out, err := k.Client.GenerateDataKey(context.Background(), in)
		if err != nil {
			return nil, fmt.Errorf("kms encrypter: generate data key: %w", err)
		}
		k.plain, k.wrapped, k.arn = out.Plaintext, out.CiphertextBlob, *out.KeyId
	}
	payload, err := gcmSeal(k.plain, plaintext)
	if err != nil {
		return nil, err
	}
	return json.Marshal(kmsBlob{1, k.wrapped, payload})
}

func (k *KMS) Decrypt(blob []byte) ([]byte, error) {
	var b kmsBlob
	if err := json.Unmarshal(blob, &b); err != nil {
		return nil, fmt.Errorf("kms encrypter: %w", err)
	}
	if b.Version != 1 {
		return nil, fmt.Errorf("kms encrypter: unsupported version %d (this build expects 1)", b.Version)
	}
	out, err := k.Client.Decrypt(context.Background(), &kms.DecryptInput{CiphertextBlob: b.EncryptedKey})
	if err != nil {
		return nil, fmt.Errorf("kms encrypter: decrypt data key: %w", err)
	}
	body, err := gcmOpen(out.Plaintext, b.Payload, "payload")
	if err != nil {
		return nil, fmt.Errorf("kms encrypter: %w", err)
	}
	return body, nil
}

func (k *KMS) Describe() (string, map[string]any) {
	body := maps.Clone(k.Body)
	if body == nil {
		body = map[string]any{}
	}
	body["key-id"] = k.KeyID
	if k.arn != "" {
		body["key-id"] = k.arn
	}
	return "kms", body
}
