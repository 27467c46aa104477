package replication

import (
	"context"
	"os"
	"path/filepath"

	"symkeep/internal/catalog"
)

// Materialize returns the path of a local file with the packed bytes of a blob in
// the established form, for a reader in another process: this node's copy, or one
// fetched for the purpose. The file stays until release is called, whatever
// becomes of the blob. Errors are those of Open and Pull.
func (r *Replicator) Materialize(ctx context.Context, d catalog.Digest) (path string, release func(), err error) {
	row, err := r.stored(d)
	if err != nil {
		return "", nil, err
	}
	if e, ok := r.local(d); ok && e.Packed == row.Packed {
		if path, release, ok := r.linked(d); ok {
			return path, release, nil
		}
	}
	st, _, err := r.download(ctx, transfer{want: Wanted{d, row.RawSize, row.Packed}, sources: r.sources(row)})
	if err != nil {
		return "", nil, err
	}
	return st.Path(), st.Abort, nil
}

// linked gives the file a second name in tmp, which neither a retirement nor a
// replacement takes away.
func (r *Replicator) linked(d catalog.Digest) (path string, release func(), ok bool) {
	dir, err := os.MkdirTemp(filepath.Join(r.store.Dir(), "tmp"), "link-")
	if err != nil {
		return "", nil, false
	}
	path = filepath.Join(dir, d.String())
	if err := os.Link(r.store.Path(d), path); err != nil {
		os.RemoveAll(dir)
		return "", nil, false
	}
	return path, func() { os.RemoveAll(dir) }, true
}
