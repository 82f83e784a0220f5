// Package artifact reads, checks and writes the files that a compiler leaves for a runtime: kernels in PTX, and a manifest that says how to
// run them.
package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/minfc/minfc/ir"
)

// The ways in which a file can fail to be an artifact, for errors.Is.
var (
	ErrNotArtifact = errors.New("not a minfc artifact")
	ErrTruncated   = errors.New("artifact is truncated")
	ErrDamaged     = errors.New("artifact is damaged")
	ErrVersion     = errors.New("artifact version is not supported")
	ErrManifest    = errors.New("artifact has a bad manifest")
	ErrTarget      = errors.New("artifact has no kernel for this use") // wrong GPU generation, head dim or data type
)

// Artifact is what a compiler made of a pattern, or of the patterns of a head plan. Its file is, with little-endian numbers:
//
//	"MINFC\n"
//	uint16   format version
//	uint32   bytes of the manifest
//	uint32   number of modules
//	uint32   bytes of each module
//	         the manifest (JSON), then the modules (PTX text)
//	[32]byte sha256 of everything before it
type Artifact struct {
	Manifest Manifest
	Modules  [][]byte // PTX text
}

const (
	artifactMagic   = "MINFC\n"
	artifactVersion = 1
	headerBytes     = len(artifactMagic) + 2 + 4 + 4

	// Reading must not let a small file ask for much memory: decoded JSON can be some 100 times its text.
	maxManifestBytes = 1 << 20
	maxModules       = 1 << 12
)

// Encode returns the artifact's file. The same artifact gives the same bytes. A bad manifest is an error: what Encode
// returns, Read reads.
func (a *Artifact) Encode() ([]byte, error) {
	if err := a.Verify(); err != nil {
		return nil, err
	}
	manifest, err := a.Manifest.JSON()
	if err != nil {
		return nil, err
	}
	if len(manifest) > maxManifestBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrManifest, len(manifest), maxManifestBytes)
	}
	b := binary.LittleEndian.AppendUint16([]byte(artifactMagic), artifactVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(manifest)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(a.Modules)))
	for _, m := range a.Modules {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(m)))
	}
	b = append(append(b, manifest...), bytes.Join(a.Modules, nil)...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// Read decodes and verifies an artifact's file. The artifact does not share memory with data.
func Read(data []byte) (*Artifact, error) {
	lengths, err := readHeader(data)
	if err == nil {
		err = checkSum(data)
	}
	if err != nil {
		return nil, err
	}
	return decode(data, lengths)
}

// ReadWhole is Read for bytes that are known to be what Encode returned: their checksum is not computed again, the rest is verified.
func ReadWhole(data []byte) (*Artifact, error) {
	lengths, err := readHeader(data)
	if err != nil {
		return nil, err
	}
	return decode(data, lengths)
}

func decode(data []byte, lengths []int) (*Artifact, error) {
	body := data[headerBytes+4*(len(lengths)-1) : len(data)-sha256.Size]
	manifest, err := parseManifest(body[:lengths[0]])
	if err != nil {
		return nil, err
	}
	a := &Artifact{Manifest: manifest, Modules: make([][]byte, 0, len(lengths)-1)}
	body = body[lengths[0]:]
	for _, n := range lengths[1:] {
		a.Modules = append(a.Modules, bytes.Clone(body[:n]))
		body = body[n:]
	}
	return a, a.Verify()
}

// readHeader returns the lengths of the manifest and of the modules. When it returns without error they add up to
// exactly the file.
func readHeader(data []byte) ([]int, error) {
	if n := min(len(data), len(artifactMagic)); n == 0 || string(data[:n]) != artifactMagic[:n] {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrNotArtifact, artifactMagic)
	}
	if len(data) < headerBytes {
		return nil, fmt.Errorf("%w: it ends inside its header", ErrTruncated)
	}
	h := data[len(artifactMagic):]
	if v := int(binary.LittleEndian.Uint16(h)); v != artifactVersion {
		return nil, fmt.Errorf("%w: the file has format %d, this program reads format %d; %s",
			ErrVersion, v, artifactVersion, versionAdvice(v, artifactVersion))
	}
	manifest, modules := binary.LittleEndian.Uint32(h[2:]), binary.LittleEndian.Uint32(h[6:])
	if manifest > maxManifestBytes || modules > maxModules {
		return nil, fmt.Errorf("%w: its header asks for a manifest of %d bytes and %d modules", ErrDamaged, manifest, modules)
	}
	lengths, total := []int{int(manifest)}, headerBytes+4*int(modules)+int(manifest)+sha256.Size
	if len(data) < total {
		return nil, truncated(len(data), total)
	}
	for i := range int(modules) {
		n := int(binary.LittleEndian.Uint32(data[headerBytes+4*i:]))
		lengths, total = append(lengths, n), total+n
	}
	return lengths, checkWhole(data, total)
}

func checkWhole(data []byte, total int) error {
	if len(data) < total {
		return truncated(len(data), total)
	}
	if len(data) > total {
		return fmt.Errorf("%w: %d bytes follow its end", ErrDamaged, len(data)-total)
	}
	return nil
}

func checkSum(data []byte) error {
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return fmt.Errorf("%w: its checksum is %x…, the file says %x…; copy or compile it again", ErrDamaged, got[:4], sum[:4])
	}
	return nil
}

func truncated(got, want int) error {
	return fmt.Errorf("%w: it has %d bytes, its header promises at least %d; copy or compile it again", ErrTruncated, got, want)
}

// ReadFile reads an artifact from a file. Errors name the file.
func ReadFile(path string) (*Artifact, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a, err := Read(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// Is says whether data begins like an artifact, so that a caller can tell one from a pattern's source.
func Is(data []byte) bool { return bytes.HasPrefix(data, []byte(artifactMagic)) }

// IsPlan says whether the artifact was compiled for a head plan, whose patterns share the heads of a layer.
func (a *Artifact) IsPlan() bool {
	return len(a.Manifest.Builds) > 0 && len(a.Manifest.Builds[0].Groups) > 0
}

// Source is the text of a pattern in the language, as it was compiled; "" if it is not known.
func (a *Artifact) Source(pattern string) string {
	for _, m := range a.Manifest.Patterns {
		if p, err := ir.ParsePattern(m.Text); err == nil && p.Name == pattern {
			return m.Source
		}
	}
	return ""
}
