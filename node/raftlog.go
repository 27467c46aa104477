package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// errLogDamaged is wrapped by errors about an entry that is not what was written.
var errLogDamaged = errors.New("raft log is damaged")

// sumVersion begins the sum of an entry on disk.
const sumVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealEntry returns an entry as it is stored: with a sum in Extensions, the field that
// raft leaves to its users, see raftfsm/FORMAT.md. Neither raft-boltdb nor bbolt keeps one.
func sealEntry(e *raft.Log) *raft.Log {
	sealed := *e
	sealed.Extensions = binary.BigEndian.AppendUint32([]byte{sumVersion}, entrySum(e))
	return &sealed
}

// unsealEntry checks an entry read at an index and takes its sum off. The first builds
// stored none. Errors wrap errLogDamaged.
func unsealEntry(index uint64, e *raft.Log) error {
	sum := e.Extensions
	e.Extensions = nil
	switch {
	case e.Index != index:
		return fmt.Errorf("the entry says that it is %d: %w", e.Index, errLogDamaged)
	case len(sum) == 0:
		return nil
	case len(sum) != 5 || sum[0] != sumVersion:
		return fmt.Errorf("sum %.32x, wanted 5 bytes of version %d: %w", sum, sumVersion, errLogDamaged)
	}
	if want, got := binary.BigEndian.Uint32(sum[1:]), entrySum(e); got != want {
		return fmt.Errorf("CRC-32C %08x, stored with %08x: %w", got, want, errLogDamaged)
	}
	return nil
}

// readEntry reads an entry of a store. Errors wrap raft.ErrLogNotFound, or errLogDamaged
// with what was read in e.
func readEntry(log raft.LogStore, index uint64, e *raft.Log) error {
	*e = raft.Log{}
	err := log.GetLog(index, e)
	switch {
	case err == nil:
		return unsealEntry(index, e)
	case errors.Is(err, raft.ErrLogNotFound):
		return err
	}
	*e = raft.Log{}
	return fmt.Errorf("%v: %w", err, errLogDamaged)
}

func entrySum(e *raft.Log) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], e.Index)
	binary.BigEndian.PutUint64(head[8:], e.Term)
	head[16] = byte(e.Type)
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, e.Data)
}
