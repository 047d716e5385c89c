#pragma once

#include "suite.h"
#include "vsc_hvsock.h"

/* A guest's sockets and a host's, and connections between them; what is not as it should be fails
 * the test. */

#define LISTENER   5000u /* the guest's */
#define SERVER	   22u	 /* the host's */
#define OWN_PORT   1025u
#define RING_PAGES 7u /* as Linux has them by default: six and the header */
#define WAIT_MS	   30000
#define FLOOD	   (4u << 20)

extern struct vsc_hvsock hvsock;

/* A test case with that guest. */
Suite *rig_suite_of(const char *name, TCase **test_case);
/* The host's end has these bytes next. */
void rig_host_expect(int fd, const void *expected, size_t bytes);
/* The host's end has no more, and never will. */
void rig_host_expect_end(int fd);
/* To the host's end, which must have room. */
void rig_host_write(int fd, const void *data, size_t bytes);
/* The guest's end has these bytes next. */
void rig_guest_expect(struct vsc_socket *socket, const void *expected, size_t bytes);
/* The guest's end has no more, and never will. */
void rig_guest_expect_end(struct vsc_socket *socket);
/* Reads the line that tells the host of its connection; the port in it. */
unsigned long rig_expect_ok(int fd);
/* A connection from the host, as far as its OK; returns the host's end. */
int rig_host_to_guest(struct vsc_socket *socket, uint32_t port);
/* A connection from the guest; returns the host's end. */
int rig_guest_to_host(struct vsc_socket *socket, uint32_t own_port, uint32_t port);
/* The same, to LISTENER. */
int rig_from_host(struct vsc_socket *socket);
/* The same, to SERVER. */
int rig_from_guest(struct vsc_socket *socket, uint32_t own_port);
/* Both halves end, the guest's first, and the guest lets go. */
void rig_end_both(struct vsc_socket *socket, int fd);
/* The device knows of no connection. */
void rig_expect_none_left(void);
/* FLOOD bytes, each place with its own; the caller's to free. */
uint8_t *rig_make_flood(void);
