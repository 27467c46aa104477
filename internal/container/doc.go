// Package container opens archives and compressed files, member by member, as
// streams: zip and what is built on it (nupkg, snupkg, vsix, apk), tar, deb, rpm,
// cabinets, SZDD, and gzip, xz, zstd and bzip2 around a tar or a single file. It
// knows no policy: which members are of use is for the caller to say.
//
// Nothing is written to disk and no member is held in memory. One walk takes up to
// 160 MiB, of which the window of zstd is 128; those of xz (64 MiB), bzip2 (4 MiB),
// LZX (2 MiB) and deflate (32 KiB) are smaller. The directory of a zip is read up to
// 32 MiB and takes a few times that, 256 MiB at worst.
//
// A Budget bounds what a walk may unpack, so that a small file cannot fill a disk
// or keep a processor busy for ever. Names inside are given as they are recorded
// and not to be trusted; see Member.
//
// A Walk runs in the caller's goroutine. A Budget belongs to one goroutine.
package container
