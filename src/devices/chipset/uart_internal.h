#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/event_loop.h"
#include "devices/device.h"
#include "vmm/io_bus.h"
#include "vmm/irq.h"

/*
 * The 16550A in two halves: uart16550.c is the chip as the guest sees it, on VP threads;
 * uart_host.c joins it to descriptors, on the main loop.
 *
 * Output never blocks a VP.  Bytes go into a ring that the loop writes out in batches: a short
 * while after the first, or at once when the ring is half full.  While the host takes none, the
 * transmitter stays busy (THRE clear); a guest that writes all the same loses those bytes.
 */

#define UART_PORTS	8
#define UART_FIFO_SIZE	16u
#define UART_OUTPUT_MAX 8192u

struct uart {
	struct io_bus *ports;
	uint16_t port;
	struct irq_line *line;
	const struct device_events *events;
	void *context; /* of events */

	/* Everything from here to the next comment, between VPs and the loop; a leaf. */
	pthread_mutex_t lock;
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t line_errors;   /* LSR bits that reading clears */
	uint8_t modem_changes; /* MSR bits that reading clears */
	bool thre_interrupt;   /* the transmitter became empty, and the guest was not yet told */
	bool line_high;	       /* the interrupt output */
	uint8_t input[UART_FIFO_SIZE];
	unsigned int input_count;
	uint8_t output[UART_OUTPUT_MAX]; /* a ring */
	unsigned int output_start;
	unsigned int output_count;
	bool output_noted;  /* the loop knows that there is output */
	bool output_urgent; /* and that it must not wait */
	bool output_broken; /* nobody to write to: output is dropped */
	bool input_paused;  /* the loop waits for room */
	int output_error;   /* the errno that broke it; 0 if there never was anybody */
	uint64_t bytes_in, bytes_out, bytes_lost;

	/* The loop's own. */
	struct event_loop *loop;
	int wake_fd; /* VPs signal it */
	int input_fd;
	int output_fd;
	struct event_source *wake;
	struct event_source *input_source;
	struct event_source *output_source; /* while the descriptor takes no more */
	struct event_source *flush_timer;
	uint64_t flushed_ns; /* when the loop last looked at new output */
};

/* uart16550.c; with the lock held, any thread. */

/* How many bytes of input there is room for: none in loopback. */
unsigned int uart_input_room(const struct uart *uart);
/* A byte comes in on the line. */
void uart_receive(struct uart *uart, uint8_t byte);
/* Whether there is room for what a driver may write at once when it sees THRE. */
bool uart_transmitter_empty(const struct uart *uart);
/* The loop took bytes from the ring. */
void uart_output_taken(struct uart *uart, bool was_empty);
/* Brings the interrupt output up to date. */
void uart_update_interrupt(struct uart *uart);

/* uart_host.c. */

/* Takes the descriptors (-1 for none); on failure they stay the caller's.  Main loop. */
int uart_host_open(struct uart *uart, struct event_loop *loop, int input_fd, int output_fd);
void uart_host_close(struct uart *uart);
/* Writes out what can be written now.  Main loop. */
void uart_host_flush(struct uart *uart);
/* A byte leaves the chip.  With the lock held, VP threads. */
void uart_host_transmit(struct uart *uart, uint8_t byte);
/* The guest made room: input that waits may come.  With the lock held, any thread. */
void uart_host_room_made(struct uart *uart);
