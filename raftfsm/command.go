package raftfsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"symkeep/internal/catalog"
)

// commandVersion is the version of every command's body that this build writes.
const commandVersion = 1

// MaxCommandBytes bounds one encoded command. Callers cut lists into chunks that
// stay below it.
const MaxCommandBytes = catalog.MaxChunkBytes

// ErrUndecodable is wrapped by every error of Decode.
var ErrUndecodable = errors.New("undecodable command")

// A Command is one entry of the replicated log. The commands of this package are
// the only implementations.
type Command interface {
	// Kind is the stored number of the command; it never changes its meaning.
	Kind() Kind
	apply(s *state) (any, error)
}

// A Kind tells commands apart in the log.
type Kind uint8

// Kinds of command. The numbers are stored.
const (
	KindCreateCluster Kind = 1
	KindPutMember     Kind = 2
	KindRemoveMember  Kind = 3
	KindMarkSynced    Kind = 4
	KindSetDraining   Kind = 5
	KindPutSettings   Kind = 6
	KindRaiseFeature  Kind = 7
	KindTick          Kind = 8

	KindChangeSettings   Kind = 9
	KindApplyLayout      Kind = 10
	KindMarkLayoutSynced Kind = 11
	KindSetMaintenance   Kind = 12
	KindRaiseAlarm       Kind = 13
	KindClearAlarm       Kind = 14
	KindFreezeRetiring   Kind = 15

	KindOpenPackage     Kind = 16
	KindAddFiles        Kind = 17
	KindRenewLease      Kind = 18
	KindCommitPackage   Kind = 19
	KindDeletePackage   Kind = 20
	KindUndeletePackage Kind = 21
	KindRetryPackage    Kind = 22

	KindPutReceipts Kind = 32
	KindDropHolders Kind = 33
	KindRetireBlobs Kind = 34
	KindSweep       Kind = 35

	KindClaimValidation Kind = 48
	KindRenewClaim      Kind = 49
	KindReleaseClaim    Kind = 50
	KindAddKeys         Kind = 51
	KindAddFindings     Kind = 52
	KindRecordVerdict   Kind = 53

	KindMarkNotice Kind = 64

	KindCheckContents Kind = 65
)

// kinds maps the number to a zero command, for decoding.
var kinds = map[Kind]Command{
	KindCreateCluster: CreateCluster{}, KindPutMember: PutMember{}, KindRemoveMember: RemoveMember{},
	KindMarkSynced: MarkSynced{}, KindSetDraining: SetDraining{}, KindPutSettings: PutSettings{},
	KindRaiseFeature: RaiseFeature{}, KindTick: Tick{},
	KindChangeSettings: ChangeSettings{}, KindApplyLayout: ApplyLayout{}, KindMarkLayoutSynced: MarkLayoutSynced{},
	KindSetMaintenance: SetMaintenance{}, KindRaiseAlarm: RaiseAlarm{}, KindClearAlarm: ClearAlarm{},
	KindFreezeRetiring: FreezeRetiring{},
	KindOpenPackage:    OpenPackage{}, KindAddFiles: AddFiles{}, KindRenewLease: RenewLease{},
	KindCommitPackage: CommitPackage{}, KindDeletePackage: DeletePackage{},
	KindUndeletePackage: UndeletePackage{}, KindRetryPackage: RetryPackage{},
	KindPutReceipts: PutReceipts{}, KindDropHolders: DropHolders{}, KindRetireBlobs: RetireBlobs{}, KindSweep: Sweep{},
	KindClaimValidation: ClaimValidation{}, KindRenewClaim: RenewClaim{}, KindReleaseClaim: ReleaseClaim{},
	KindAddKeys: AddKeys{}, KindAddFindings: AddFindings{}, KindRecordVerdict: RecordVerdict{},
	KindMarkNotice: MarkNotice{}, KindCheckContents: CheckContents{},
}

// Encode returns the log form of c: kind, version, JSON body. It refuses what
// Decode would not read and what is over MaxCommandBytes, because an entry that
// cannot be decoded stops every node; errors wrap catalog.ErrInvalid.
func Encode(c Command) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("command %T: %w: %w", c, err, catalog.ErrInvalid)
	}
	b := append([]byte{byte(c.Kind()), commandVersion}, body...)
	if len(b) > MaxCommandBytes {
		return nil, fmt.Errorf("command %T: %d bytes, at most %d fit one log entry; send smaller chunks: %w",
			c, len(b), MaxCommandBytes, catalog.ErrInvalid)
	}
	if _, err := Decode(b); err != nil {
		return nil, fmt.Errorf("command %T: %w: %w", c, err, catalog.ErrInvalid)
	}
	return b, nil
}

// Decode reads what Encode wrote and nothing else: an unknown kind, version or
// field, and trailing bytes, are errors that wrap ErrUndecodable. A leader calls
// it on every command another node forwards, before it proposes the bytes.
func Decode(b []byte) (Command, error) {
	if len(b) < 2 || len(b) > MaxCommandBytes {
		return nil, fmt.Errorf("entry of %d bytes, wanted 2 to %d: %w", len(b), MaxCommandBytes, ErrUndecodable)
	}
	zero, ok := kinds[Kind(b[0])]
	if !ok || b[1] != commandVersion {
		return nil, fmt.Errorf("kind %d version %d, this build reads version %d of the kinds it knows; upgrade this node: %w",
			b[0], b[1], commandVersion, ErrUndecodable)
	}
	p := reflect.New(reflect.TypeOf(zero))
	d := json.NewDecoder(bytes.NewReader(b[2:]))
	d.DisallowUnknownFields()
	if err := d.Decode(p.Interface()); err != nil {
		return nil, fmt.Errorf("kind %d: %w: %w", b[0], err, ErrUndecodable)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("kind %d: bytes after the body: %w", b[0], ErrUndecodable)
	}
	c := p.Elem().Interface().(Command)
	if r, ok := c.(RaiseFeature); ok && r.Level > MaxFeature {
		return nil, fmt.Errorf("feature level %d, this build knows levels to %d; upgrade this node: %w",
			r.Level, MaxFeature, ErrUndecodable)
	}
	return c, nil
}
