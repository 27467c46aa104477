package symid

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Kind says what the id of a Key is. The values are stored: they never change.
type Kind byte

// Kinds of key.
const (
	KindPE       Kind = 1 // id: timestamp u32, image size u32, big-endian; named
	KindPDB      Kind = 2 // id: GUID in print order, age u32 big-endian; named
	KindBuildID  Kind = 3 // id: build id in its own length; no name
	KindMachO    Kind = 4 // id: UUID; no name
	KindBreakpad Kind = 5 // id: as KindPDB; name is the debug file
	KindWasm     Kind = 6 // id: build id in its own length; named
	KindStore    Kind = 7 // id: the middle part of a lookup path, folded; named
	KindSource   Kind = 8 // id: as KindBuildID, or empty, see SourceKey; name is a path, case kept
)

// An Artifact says which of the files that share an id is meant. The values are
// stored and stay below 0x20, so that an index key can be told apart.
type Artifact byte

// Artifacts.
const (
	Executable Artifact = 1 // the image that is loaded and run
	Debuginfo  Artifact = 2 // debug information of the image
	SymText    Artifact = 3 // Breakpad text
	Source     Artifact = 4 // a source file
)

// PortableAge stands in the age of a portable PDB's key.
const PortableAge = 0xFFFFFFFF

// A Key is what a debugger asks for. Two keys name the same thing exactly when
// their Index is equal. Make one with the constructors below.
type Key struct {
	Kind     Kind
	ID       string // raw bytes, see Kind
	Artifact Artifact
	Name     string // base name in display case; for display only where the kind has no name
}

// An IndexKey is the stored form of a Key, version 1: kind byte, id bytes,
// artifact byte, name folded in ASCII A-Z unless it is a path of sources. Names hold no byte below 0x20 and
// artifacts are below 0x20, so no two keys share an encoding.
type IndexKey string

// PEKey names a PE image.
func PEKey(name string, id CodeID) Key {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], id.Timestamp)
	binary.BigEndian.PutUint32(b[4:], id.ImageSize)
	return Key{Kind: KindPE, ID: string(b[:]), Artifact: Executable, Name: name}
}

// PDBKey names a PDB. A portable PDB has the age PortableAge.
func PDBKey(name string, id DebugID) Key {
	return Key{Kind: KindPDB, ID: debugIDBytes(id), Artifact: Debuginfo, Name: name}
}

// BuildIDKey names an ELF image or its debug information; name is for display.
func BuildIDKey(id BuildID, artifact Artifact, name string) Key {
	return Key{Kind: KindBuildID, ID: string(id), Artifact: artifact, Name: name}
}

// MachOKey names a Mach-O image or its dSYM; name is for display.
func MachOKey(uuid GUID, artifact Artifact, name string) Key {
	return Key{Kind: KindMachO, ID: string(uuid[:]), Artifact: artifact, Name: name}
}

// BreakpadKey names a Breakpad file by its debug file.
func BreakpadKey(debugFile string, id DebugID) Key {
	return Key{Kind: KindBreakpad, ID: debugIDBytes(id), Artifact: SymText, Name: debugFile}
}

// WasmKey names a WebAssembly module.
func WasmKey(name string, id BuildID) Key {
	return Key{Kind: KindWasm, ID: string(id), Artifact: Executable, Name: name}
}

// StoreKey names a file by a lookup path name/id/name whose id is not its own, as the
// symbol index of a package assigns it: the debugger support of a runtime, say, under
// the id of that runtime. The id is folded; Valid says whether it can stand in a path.
func StoreKey(name, id string) Key {
	return Key{Kind: KindStore, ID: Fold(id), Artifact: Executable, Name: name}
}

// OwnKeys returns the keys by which files answer the path of a KindStore key without
// being assigned it: those that its id means as a build id, a UUID, a stamp or a GUID.
// Other kinds have none.
func (k Key) OwnKeys() []Key {
	if k.Kind != KindStore {
		return nil
	}
	return storeKeys(k.Name, k.ID)
}

// Means reports whether the path of k asks for a file of that base name, if the file
// has the key k of its own. Build ids and UUIDs of images hold no name, and under the
// id of a runtime its debugger support may be asked for: there the names must agree.
func (k Key) Means(base string) bool {
	if k.Artifact != Executable || k.Kind != KindBuildID && k.Kind != KindMachO {
		return true
	}
	return moduleName(k.Name) == moduleName(base)
}

// moduleName is a base name folded, without the version behind ".so": loaders and
// debuggers know libfoo.so.1.2 by the name of any link to it.
func moduleName(base string) string {
	base = Fold(base)
	if at := strings.Index(base, ".so."); at > 0 {
		return base[:at+len(".so")]
	}
	return base
}

func debugIDBytes(id DebugID) string {
	var b [20]byte
	copy(b[:], id.GUID[:])
	binary.BigEndian.PutUint32(b[16:], id.Age)
	return string(b[:])
}

// Index returns the stored form.
func (k Key) Index() IndexKey {
	return IndexKey(k.AppendIndex(make([]byte, 0, 2+len(k.ID)+len(k.Name))))
}

// AppendIndex appends the stored form to b.
func (k Key) AppendIndex(b []byte) []byte {
	b = append(b, byte(k.Kind))
	b = append(b, k.ID...)
	b = append(b, byte(k.Artifact))
	switch k.Kind {
	case KindBuildID, KindMachO:
		return b
	case KindSource:
		return append(b, k.Name...)
	}
	return appendFold(b, k.Name)
}

// ParseIndexKey takes a stored key apart. The name comes back folded.
func ParseIndexKey(x IndexKey) (Key, error) {
	i := len(x) - 1
	for i > 0 && x[i] >= 0x20 { // names hold nothing below, artifacts nothing else
		i--
	}
	if i < 1 {
		return Key{}, fmt.Errorf("index key %x: no artifact: %w", x, ErrBadID)
	}
	k := Key{Kind: Kind(x[0]), ID: string(x[1:i]), Artifact: Artifact(x[i]), Name: string(x[i+1:])}
	return k, k.Valid()
}

// Valid reports whether the id has the length its kind asks for, the artifact is
// known and the name can stand in a lookup path.
func (k Key) Valid() error {
	switch {
	case k.Artifact < Executable || k.Artifact > Source || (k.Artifact == Source) != (k.Kind == KindSource):
		return fmt.Errorf("key artifact %d of kind %d: unknown: %w", k.Artifact, k.Kind, ErrBadID)
	case k.Kind == KindSource:
		if err := CheckSource(k.Name); err != nil {
			return err
		}
	case k.Kind == KindBuildID || k.Kind == KindMachO:
	default:
		if err := CheckName(k.Name); err != nil {
			return err
		}
	}
	switch {
	case k.Kind == KindStore:
		return validStoreID(k.ID)
	case k.Kind == KindSource && k.ID == "":
		return nil
	}
	want := map[Kind]int{KindPE: 8, KindPDB: 20, KindMachO: 16, KindBreakpad: 20}
	n, fixed := want[k.Kind]
	switch {
	case fixed && len(k.ID) == n:
		return nil
	case !fixed && (k.Kind == KindBuildID || k.Kind == KindWasm || k.Kind == KindSource) && len(k.ID) >= 1 && len(k.ID) <= 256:
		return nil
	}
	return fmt.Errorf("key of kind %d: id of %d bytes: %w", k.Kind, len(k.ID), ErrBadID)
}

// MaxStoreID bounds the id of a StoreKey, in bytes.
const MaxStoreID = 255

// validStoreID accepts printable ASCII of one path element, folded.
func validStoreID(id string) error {
	if id == "" || len(id) > MaxStoreID || id == "." || id == ".." {
		return fmt.Errorf("store id %.80q: %d bytes, wanted 1 to %d: %w", id, len(id), MaxStoreID, ErrBadID)
	}
	for i := range len(id) {
		if c := id[i]; c <= 0x20 || c >= 0x7f || c == '/' || c == '\\' || 'A' <= c && c <= 'Z' {
			return fmt.Errorf("store id %.80q: byte %#x, wanted printable ASCII in lower case without slashes: %w", id, c, ErrBadID)
		}
	}
	return nil
}

// Paths returns the lookup paths a debugger may send for the key, in canonical
// case, without a leading slash. The first is the one to show a person. A source of
// every program of its package has none.
func (k Key) Paths() []string {
	hexID := hex.EncodeToString([]byte(k.ID))
	switch k.Kind {
	case KindPE, KindPDB:
		return []string{k.Name + "/" + k.StoreID() + "/" + k.Name}
	case KindBreakpad:
		return []string{k.Name + "/" + k.debugID().String() + "/" + SymStem(k.Name) + ".sym"}
	case KindBuildID:
		padded := BuildID(k.ID).Padded()
		if k.Artifact == Debuginfo {
			return []string{"buildid/" + hexID + "/debuginfo", "_.debug/elf-buildid-sym-" + padded + "/_.debug"}
		}
		ps := []string{"buildid/" + hexID + "/executable"}
		if k.Name != "" {
			ps = append(ps, k.Name+"/elf-buildid-"+padded+"/"+k.Name)
		}
		return ps
	case KindMachO:
		if k.Artifact == Debuginfo {
			return []string{"_.dwarf/mach-uuid-sym-" + hexID + "/_.dwarf"}
		}
		return []string{k.Name + "/mach-uuid-" + hexID + "/" + k.Name}
	case KindWasm:
		return []string{k.Name + "/" + hexID + "/" + k.Name}
	case KindStore:
		return []string{k.Name + "/" + k.ID + "/" + k.Name}
	case KindSource:
		if k.ID != "" {
			return []string{"buildid/" + hexID + "/source" + sourcePath(k.Name)}
		}
	}
	return nil
}

// StoreID returns the middle part of a SymStore path, in canonical case: GUID
// upper, age lower; timestamp upper, size lower. It is empty for other kinds.
func (k Key) StoreID() string {
	switch k.Kind {
	case KindPE:
		return CodeID{Timestamp: binary.BigEndian.Uint32([]byte(k.ID)), ImageSize: binary.BigEndian.Uint32([]byte(k.ID[4:]))}.String()
	case KindPDB:
		id := k.debugID()
		return fmt.Sprintf("%s%x", id.GUID, id.Age)
	case KindStore:
		return k.ID
	}
	return ""
}

func (k Key) debugID() DebugID {
	var d DebugID
	copy(d.GUID[:], k.ID)
	d.Age = binary.BigEndian.Uint32([]byte(k.ID[16:]))
	return d
}

type keyJSON struct {
	Kind     Kind     `json:"kind"`
	ID       string   `json:"id"` // lower-case hex
	Artifact Artifact `json:"artifact"`
	Name     string   `json:"name,omitempty"`
}

// MarshalJSON writes the id as lower-case hex.
func (k Key) MarshalJSON() ([]byte, error) {
	return json.Marshal(keyJSON{k.Kind, hex.EncodeToString([]byte(k.ID)), k.Artifact, k.Name})
}

// UnmarshalJSON reads what MarshalJSON wrote and checks it with Valid.
func (k *Key) UnmarshalJSON(b []byte) error {
	var j keyJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	id, err := hex.DecodeString(j.ID)
	if err != nil {
		return fmt.Errorf("key id %q: not hex: %w", j.ID, ErrBadID)
	}
	*k = Key{j.Kind, string(id), j.Artifact, j.Name}
	return k.Valid()
}

// Fold maps ASCII A-Z to lower case and leaves every other byte of UTF-8 alone.
func Fold(s string) string {
	if !hasUpper(s) {
		return s
	}
	return string(appendFold(make([]byte, 0, len(s)), s))
}

// appendFold appends Fold(s) to b.
func appendFold(b []byte, s string) []byte {
	if !hasUpper(s) {
		return append(b, s...)
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	from := len(b)
	b = append(b, s...)
	for i, c := range b[from:] {
		if 'A' <= c && c <= 'Z' {
			b[from+i] = c + 'a' - 'A'
		}
	}
	return b
}

func hasUpper(s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return true
		}
	}
	return false
}

// SymStem returns the name a Breakpad file has without ".sym": the debug file
// without a trailing .pdb of any case.
func SymStem(debugFile string) string {
	if n := len(debugFile) - 4; n > 0 && strings.EqualFold(debugFile[n:], ".pdb") {
		return debugFile[:n]
	}
	return debugFile
}
