#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/io_timer.h"
#include "devices/chipset/pci.h"
#include "devices/chipset/tulip_serial.h"
#include "devices/device.h"
#include "devices/net/net.h"

/*
 * The DEC 21140A, the legacy network adapter of a Generation 1 VM.  Registers and descriptors as
 * Digital's hardware reference manual (EC-QN7NC-TE) has them and Linux's
 * drivers/net/ethernet/dec/tulip uses them.  Its parts:
 *
 *   tulip.c           the device: configuration, creation, pauses, verbs
 *   tulip_csr.c       the registers, on VP threads
 *   tulip_ring.c      descriptors, and what both rings share
 *   tulip_transmit.c  the transmit process, setup frames
 *   tulip_receive.c   the receive process
 *   tulip_filter.c    which addresses are received
 *   tulip_port.c      the backend's queue on its I/O thread
 *   tulip_host.c      captures
 *   tulip_state.c     save, restore, inspect
 *   tulip_rom.c, tulip_phy.c   what hangs on CSR9
 *
 * Threads: VPs change registers; the processes that follow the rings run on one I/O thread, which
 * VPs wake by a post.  A frame is copied once, either way, between guest memory and a buffer of
 * ours, so that no descriptor stays open while the backend has its frame.
 *
 * Locks: tulip.lock guards the registers and the rings' positions, and is held while a descriptor
 * is read and closed, so that a process that a VP has stopped is stopped when its write returns.
 * The PCI bus's leaves are taken under it; the backend is called without it.
 */

#define TULIP_REGISTER_BYTES 128u
#define TULIP_DESCRIPTOR     16u
/* Frames beyond it, without FCS, are cut off by the jabber timers. */
#define TULIP_FRAME_MAX	     2048u
/* For a frame to come: what fills it was longer, and is cut. */
#define TULIP_ROOM	     (TULIP_FRAME_MAX + 1)
#define TULIP_FCS_BYTES	     4u
#define TULIP_FRAME_MIN	     60u /* without FCS */
/* Descriptors of one frame. */
#define TULIP_PIECES_MAX     64u
#define TULIP_TRANSMITS	     64u
/* Frames received that find no descriptor, and buffers for those and what the backend holds. */
#define TULIP_WAITING_MAX    64u
#define TULIP_BUFFERS	     (2 * TULIP_WAITING_MAX)
#define TULIP_ID_MAX	     32

/* Bits of CSR5 (status) and CSR7 (mask). */
#define TULIP_INT_TRANSMIT	   (1u << 0)
#define TULIP_INT_TRANSMIT_STOPPED (1u << 1)
#define TULIP_INT_TRANSMIT_NO_BUF  (1u << 2)
#define TULIP_INT_TRANSMIT_JABBER  (1u << 3)
#define TULIP_INT_UNDERFLOW	   (1u << 5)
#define TULIP_INT_RECEIVE	   (1u << 6)
#define TULIP_INT_RECEIVE_NO_BUF   (1u << 7)
#define TULIP_INT_RECEIVE_STOPPED  (1u << 8)
#define TULIP_INT_RECEIVE_WATCHDOG (1u << 9)
#define TULIP_INT_EARLY_TRANSMIT   (1u << 10)
#define TULIP_INT_TIMER		   (1u << 11)
#define TULIP_INT_BUS_ERROR	   (1u << 13)
#define TULIP_INT_EARLY_RECEIVE	   (1u << 14)
#define TULIP_INT_ABNORMAL	   (1u << 15)
#define TULIP_INT_NORMAL	   (1u << 16)

/* Bits of CSR6 (operating mode). */
#define TULIP_MODE_HASH_PERFECT	 (1u << 0)
#define TULIP_MODE_RECEIVE	 (1u << 1)
#define TULIP_MODE_HASH_ONLY	 (1u << 2)
#define TULIP_MODE_INVERSE	 (1u << 4)
#define TULIP_MODE_PROMISCUOUS	 (1u << 6)
#define TULIP_MODE_ALL_MULTICAST (1u << 7)
#define TULIP_MODE_LOOPBACK	 (3u << 10)
#define TULIP_MODE_TRANSMIT	 (1u << 13)
#define TULIP_MODE_MII		 (1u << 18)
#define TULIP_MODE_SLOW		 (1u << 22) /* threshold of 10 Mb/s */
#define TULIP_MODE_RECEIVE_ALL	 (1u << 30)
#define TULIP_MODE_FILTERS	 (TULIP_MODE_HASH_PERFECT | TULIP_MODE_HASH_ONLY | TULIP_MODE_INVERSE)

enum tulip_process { TULIP_STOPPED, TULIP_RUNNING, TULIP_SUSPENDED, TULIP_PROCESSES };

/* What the last setup frame said. */
#define TULIP_PERFECT_ADDRESSES 16u
#define TULIP_HASH_WORDS	32u

struct tulip_filter {
	uint32_t kind; /* TULIP_MODE_FILTERS */
	uint8_t perfect[TULIP_PERFECT_ADDRESSES][NET_MAC_BYTES];
	uint32_t perfect_count;
	uint16_t hash[TULIP_HASH_WORDS];
};

struct tulip_ring {
	enum tulip_process process;
	uint32_t base; /* as the guest has set it */
	uint32_t at;   /* the next descriptor */
};

struct tulip_descriptor {
	uint32_t address;
	uint32_t status;
	uint32_t control;
	uint32_t buffer1;
	uint32_t buffer2;
};

struct tulip_counters {
	uint64_t frames;
	uint64_t bytes;
	uint64_t dropped;
};

struct tulip_buffer {
	struct net_buffer buffer;
	struct tulip_buffer *next;
	struct iovec iov[2];
	uint32_t bytes;
	bool filter_failed; /* received all the same */
	uint8_t data[TULIP_FRAME_MAX + TULIP_FCS_BYTES];
};

struct tulip_transmit {
	struct net_transmit transmit;
	struct tulip *tulip;
	struct tulip_transmit *next;
	struct iovec iov[2];
	uint32_t bytes;
	uint8_t data[TULIP_FRAME_MAX];
};

struct tulip {
	struct device_env env;
	struct pci_function *function;
	struct net_port *port;
	struct io_thread *thread;
	struct capture *capture; /* of frames; NULL: none */
	char id[TULIP_ID_MAX];
	uint8_t mac[NET_MAC_BYTES];

	/* Everything from here to the next comment. */
	pthread_mutex_t lock;
	uint32_t bus_mode; /* CSR0 */
	uint32_t status;   /* CSR5: events alone */
	uint32_t mode;	   /* CSR6, without the filters' kind */
	uint32_t mask;	   /* CSR7 */
	uint32_t missed;   /* CSR8 */
	uint32_t serial;   /* CSR9, as written */
	uint32_t pins;	   /* CSR12, and which are outputs */
	uint32_t pins_out;
	uint32_t watchdog;    /* CSR15 */
	bool bus_error;	      /* no bus access until the next reset */
	uint32_t timer_ticks; /* CSR11, as written; 0: off */
	uint64_t timer_due;   /* ns of the monotonic clock; 0: off */
	struct tulip_ring receive;
	struct tulip_ring transmit;
	struct tulip_filter filter;
	struct tulip_rom rom;
	struct tulip_phy phy;
	bool carrier; /* the port's */
	bool plugged; /* as the verb has it */
	bool wake_posted;
	struct io_post wake;

	/* The I/O thread's. */
	struct net_queue *queue;
	bool running; /* resumed */
	bool suspending;
	bool starved; /* the transmit process waits for one of transmits */
	bool hungry;  /* the backend asked for a buffer in vain */
	struct io_batch_work more;
	struct io_timer *timer;
	struct io_timer *poll_timer; /* for automatic polling */
	struct tulip_transmit *transmits;
	struct tulip_transmit *free_transmit;
	struct tulip_buffer *buffers;
	struct tulip_buffer *free_buffer;
	struct tulip_buffer *waiting; /* for a descriptor, the oldest first */
	struct tulip_buffer **waiting_end;
	_Atomic uint32_t waiting_count;
	sem_t suspended;
	/* Written by the I/O thread, read by the main loop: tulip_count */
	struct tulip_counters sent;
	struct tulip_counters received;
};

static inline void tulip_count(uint64_t *counter, uint64_t add)
{
	__atomic_store_n(counter, *counter + add, __ATOMIC_RELAXED);
}

/* tulip_csr.c */

extern const struct pci_bar tulip_io_bar, tulip_memory_bar;
/* As after power-on or a software reset.  With the lock held. */
void tulip_registers_reset(struct tulip *tulip);
/* An event, and what follows for the interrupt.  With the lock held. */
void tulip_event(struct tulip *tulip, uint32_t events);
void tulip_update_interrupt(struct tulip *tulip);
/* Has the I/O thread look at the rings and the timer.  With the lock held, any thread. */
void tulip_wake(struct tulip *tulip);
/* The link is what carrier and cable make it.  With the lock held. */
void tulip_update_link(struct tulip *tulip);
/* CSR11: ticks of it in ns as the mode is. */
uint64_t tulip_tick_ns(const struct tulip *tulip);
/* The timer's remaining ticks at that time. */
uint32_t tulip_timer_left(const struct tulip *tulip, uint64_t now);

/* tulip_ring.c.  With the lock held. */

/* Reads the descriptor at that address, once.  False after a bus error. */
bool tulip_fetch(struct tulip *tulip, uint32_t address, struct tulip_descriptor *out);
/* Gives it back to the guest, behind all that was written before.  False after a bus error. */
bool tulip_close(struct tulip *tulip, const struct tulip_descriptor *descriptor, uint32_t status);
/* Where the one after it lies. */
uint32_t tulip_next(const struct tulip *tulip, const struct tulip_ring *ring,
		    const struct tulip_descriptor *descriptor);
/* Nobody answers at an address: both processes stop until the next reset. */
void tulip_fail(struct tulip *tulip);
/* Whether the process may go to memory now. */
bool tulip_may_run(const struct tulip *tulip, const struct tulip_ring *ring);
#define TULIP_OWN	    (1u << 31)
#define TULIP_CHAINED	    (1u << 24)
#define TULIP_BUFFER1(c)    ((c)&0x7ff)
#define TULIP_BUFFER2(c)    ((c) >> 11 & 0x7ff)
#define TULIP_ERROR_SUMMARY (1u << 15)

/* tulip_transmit.c.  I/O thread. */
void tulip_transmit_run(struct tulip *tulip);
/* Looks at the ring by itself, where the guest wants that. */
void tulip_transmit_poll(struct tulip *tulip);
/* Whether that is to be done again in a while.  With the lock held. */
bool tulip_transmit_polls(const struct tulip *tulip);
/* All of its buffers are free. */
void tulip_transmit_init(struct tulip *tulip);

/* tulip_receive.c.  I/O thread. */
void tulip_receive_init(struct tulip *tulip);
struct net_buffer *tulip_receive_buffer(void *context);
void tulip_receive_frame(void *context, struct net_buffer *buffer, uint32_t bytes,
			 const struct net_offload *offload);
/* A frame that the chip hears itself. */
void tulip_receive_loopback(struct tulip *tulip, const uint8_t *data, uint32_t bytes);
/* Gives the ring what waits for it; drops it when the process is stopped. */
void tulip_receive_run(struct tulip *tulip);

/* tulip_filter.c */

/* setup: the 192 bytes of a setup frame; kind: of TULIP_MODE_FILTERS. */
#define TULIP_SETUP_BYTES 192u
void tulip_filter_set(struct tulip_filter *filter, const uint8_t *setup, uint32_t kind);
/* Whether a frame to that address passes; mode: CSR6.  Receiving all is not looked at. */
bool tulip_filter_passes(const struct tulip_filter *filter, uint32_t mode, const uint8_t *address);

/* tulip_port.c */

/* Main loop: takes the queue to the I/O thread and resumes it; -errno. */
int tulip_port_attach(struct tulip *tulip);
/* Main loop, suspended. */
void tulip_port_detach(struct tulip *tulip);
void tulip_port_suspend(struct tulip *tulip);
void tulip_port_resume(struct tulip *tulip);

/* tulip_host.c */

/* Opens the capture that config has, if any; -errno with a sentence.  Main loop. */
int tulip_capture_open(struct tulip *tulip, const json_t *config, struct error *err);
/* A frame went by.  I/O thread. */
void tulip_capture_frame(const struct tulip *tulip, bool sent, uint8_t *data, uint32_t bytes);

/* tulip_state.c */

#define TULIP_STATE_VERSION 1
void tulip_save(void *device, struct state_writer *writer);
int tulip_restore(void *device, const struct state_node *node);
void tulip_inspect(void *device, struct state_writer *writer);
