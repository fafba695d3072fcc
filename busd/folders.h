/* SPDX-License-Identifier: Apache-2.0
 * The folders of the data and of the socket: made when missing, looked at before they are used.
 */
#ifndef BUSD_FOLDERS_H
#define BUSD_FOLDERS_H

/** Makes the data folder, mode 0700, with its parents, and checks that it can be written to. 0, or
 * PERMISSION and SYSTEM with the remedy in the text. Blocks: for the disk. */
int folders_make_data(const char *path);

/**
 * Makes the folder that the socket at `path` lies in. One in /tmp has to belong to us and be
 * closed to others, or somebody else could put a socket in our place. 0 or a failure as above.
 */
int folders_make_socket(const char *path);

#endif
