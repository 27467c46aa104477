// Package share keeps a directory in the layout of a Microsoft symbol store, so
// that an SMB or NFS server can export it as it is: one cabinet per PE and PDB
// key of a good package, as a hard link to the node's blob where the member name
// fits, else as a copy of the cabinet under the right name.
//
// It owns everything below the directory that carries its marker, and nothing
// else: whatever it does not recognise as its own it leaves alone and counts. It
// decides nothing: which file answers a key comes from a Catalog, the bytes from
// Blobs. The tree may be wrong in any way when a Share starts; one pass over the
// catalog and one over the tree repair it in memory that does not grow with
// either. Later only the keys of changed packages are looked at.
//
// FORMAT.md has the layout of the tree and the marker. The store's layout is that
// of "Using SymStore" in the Windows driver documentation, single tier.
//
// A Share's methods are safe for concurrent use; Run is called once.
package share
