#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/chip.h"
#include "devices/chipset/uart_internal.h"
#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

/*
 * Its configuration: {"input_fd": N, "output_fd": N, "port": N, "gsi": N}, of which the last two
 * are those of COM1 where they are not given.
 */

/* Registers and bits as the data sheet of the PC16550D has them. */
enum {
	REG_DATA, /* RBR, THR; DLL with DLAB */
	REG_IER,  /* DLM with DLAB */
	REG_IIR,  /* FCR when written */
	REG_LCR,
	REG_MCR,
	REG_LSR,
	REG_MSR,
	REG_SCR,
};

#define IER_RECEIVE  0x01
#define IER_TRANSMIT 0x02
#define IER_LINE     0x04
#define IER_MODEM    0x08
#define IER_WRITABLE 0x0f

#define IIR_NONE     0x01
#define IIR_MODEM    0x00
#define IIR_TRANSMIT 0x02
#define IIR_RECEIVE  0x04
#define IIR_LINE     0x06
#define IIR_TIMEOUT  0x0c
#define IIR_FIFOS    0xc0

#define FCR_ENABLE	  0x01
#define FCR_CLEAR_RECEIVE 0x02
#define FCR_TRIGGER_SHIFT 6
#define FCR_KEPT	  0xc9 /* enable, DMA mode, trigger level */

#define LCR_DLAB 0x80

#define MCR_DTR	     0x01
#define MCR_RTS	     0x02
#define MCR_OUT1     0x04
#define MCR_OUT2     0x08 /* on a PC: lets the interrupt out */
#define MCR_LOOP     0x10
#define MCR_WRITABLE 0x1f

#define LSR_DATA    0x01
#define LSR_OVERRUN 0x02
#define LSR_THRE    0x20
#define LSR_TEMT    0x40

#define MSR_DELTA_CTS  0x01
#define MSR_DELTA_DSR  0x02
#define MSR_RI_TRAILED 0x04
#define MSR_DELTA_DCD  0x08
#define MSR_CTS	       0x10
#define MSR_DSR	       0x20
#define MSR_RI	       0x40
#define MSR_DCD	       0x80

#define DIVISOR_115200 1

static unsigned int fifo_size(const struct uart *uart)
{
	return uart->fcr & FCR_ENABLE ? UART_FIFO_SIZE : 1;
}

/* The line from outside is cut off in loopback. */
unsigned int uart_input_room(const struct uart *uart)
{
	unsigned int size = fifo_size(uart);

	if (uart->mcr & MCR_LOOP || uart->input_count >= size)
		return 0;
	return size - uart->input_count;
}

void uart_receive(struct uart *uart, uint8_t byte)
{
	if (uart->input_count < fifo_size(uart))
		uart->input[uart->input_count++] = byte;
	else
		uart->line_errors |= LSR_OVERRUN;
}

bool uart_transmitter_empty(const struct uart *uart)
{
	return UART_OUTPUT_MAX - uart->output_count >= UART_FIFO_SIZE;
}

/* What asks for an interrupt and is allowed to, highest priority first. */
static uint8_t interrupt_id(const struct uart *uart)
{
	static const uint8_t triggers[] = {1, 4, 8, 14};
	unsigned int trigger =
		uart->fcr & FCR_ENABLE ? triggers[uart->fcr >> FCR_TRIGGER_SHIFT] : 1;

	if (uart->ier & IER_LINE && uart->line_errors)
		return IIR_LINE;
	if (uart->ier & IER_RECEIVE && uart->input_count >= trigger)
		return IIR_RECEIVE;
	/* The line is infinitely fast, so what is there has timed out. */
	if (uart->ier & IER_RECEIVE && uart->input_count > 0)
		return IIR_TIMEOUT;
	if (uart->ier & IER_TRANSMIT && uart->thre_interrupt)
		return IIR_TRANSMIT;
	if (uart->ier & IER_MODEM && uart->modem_changes)
		return IIR_MODEM;
	return IIR_NONE;
}

void uart_update_interrupt(struct uart *uart)
{
	bool high = uart->mcr & MCR_OUT2 && interrupt_id(uart) != IIR_NONE;

	if (high && !uart->line_high)
		irq_line_raise(uart->line);
	uart->line_high = high;
}

void uart_output_taken(struct uart *uart, bool was_empty)
{
	if (!was_empty && uart_transmitter_empty(uart))
		uart->thre_interrupt = true;
	uart_update_interrupt(uart);
}

/* The modem at the other end is always there; in loopback it is the chip itself. */
static uint8_t modem_lines(const struct uart *uart)
{
	uint8_t lines = 0;

	if (!(uart->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (uart->mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (uart->mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (uart->mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (uart->mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static void write_mcr(struct uart *uart, uint8_t value)
{
	uint8_t before = modem_lines(uart), changed;

	uart->mcr = value & MCR_WRITABLE;
	changed = before ^ modem_lines(uart);
	if (changed & MSR_CTS)
		uart->modem_changes |= MSR_DELTA_CTS;
	if (changed & MSR_DSR)
		uart->modem_changes |= MSR_DELTA_DSR;
	if (changed & MSR_DCD)
		uart->modem_changes |= MSR_DELTA_DCD;
	if (changed & before & MSR_RI)
		uart->modem_changes |= MSR_RI_TRAILED;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	/* Bytes written have left at once: there is no transmit FIFO to clear. */
	if (value & FCR_CLEAR_RECEIVE || (value ^ uart->fcr) & FCR_ENABLE)
		uart->input_count = 0;
	uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void write_ier(struct uart *uart, uint8_t value)
{
	/* Letting it out with the transmitter empty interrupts right away. */
	if (~uart->ier & value & IER_TRANSMIT && uart_transmitter_empty(uart))
		uart->thre_interrupt = true;
	uart->ier = value & IER_WRITABLE;
}

/* The byte leaves at once, so that an interrupt for it is due before the guest looks again. */
static void write_data(struct uart *uart, uint8_t value)
{
	if (uart->mcr & MCR_LOOP)
		uart_receive(uart, value);
	else
		uart_host_transmit(uart, value);
	uart->thre_interrupt = uart_transmitter_empty(uart);
}

static void write_register(struct uart *uart, unsigned int reg, uint8_t value)
{
	bool latch = uart->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (latch)
			uart->dll = value;
		else
			write_data(uart, value);
		break;
	case REG_IER:
		if (latch)
			uart->dlm = value;
		else
			write_ier(uart, value);
		break;
	case REG_IIR:
		write_fcr(uart, value);
		break;
	case REG_LCR:
		uart->lcr = value;
		break;
	case REG_MCR:
		write_mcr(uart, value);
		break;
	case REG_SCR:
		uart->scr = value;
		break;
	}
}

static uint8_t read_data(struct uart *uart)
{
	uint8_t value = uart->input[0];

	if (uart->input_count == 0)
		return 0;
	uart->input_count--;
	memmove(uart->input, uart->input + 1, uart->input_count);
	return value;
}

/* Telling of an empty transmitter is what takes that interrupt back. */
static uint8_t read_iir(struct uart *uart)
{
	uint8_t id = interrupt_id(uart);

	if (id == IIR_TRANSMIT)
		uart->thre_interrupt = false;
	return id | (uart->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
	uint8_t value = uart->line_errors;

	uart->line_errors = 0;
	if (uart->input_count > 0)
		value |= LSR_DATA;
	if (uart_transmitter_empty(uart))
		value |= LSR_THRE | LSR_TEMT;
	return value;
}

static uint8_t read_msr(struct uart *uart)
{
	uint8_t value = modem_lines(uart) | uart->modem_changes;

	uart->modem_changes = 0;
	return value;
}

static uint8_t read_register(struct uart *uart, unsigned int reg)
{
	bool latch = uart->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return latch ? uart->dll : read_data(uart);
	case REG_IER:
		return latch ? uart->dlm : uart->ier;
	case REG_IIR:
		return read_iir(uart);
	case REG_LCR:
		return uart->lcr;
	case REG_MCR:
		return uart->mcr;
	case REG_LSR:
		return read_lsr(uart);
	case REG_MSR:
		return read_msr(uart);
	default:
		return uart->scr;
	}
}

/* Input that waits may come when all there was is read, in one go. */
static void after_access(struct uart *uart)
{
	uart_update_interrupt(uart);
	if (uart->input_count == 0)
		uart_host_room_made(uart);
}

static uint8_t uart_read(void *chip, unsigned int offset)
{
	struct uart *uart = chip;
	uint8_t value;

	pthread_mutex_lock(&uart->lock);
	value = read_register(uart, offset);
	after_access(uart);
	pthread_mutex_unlock(&uart->lock);
	return value;
}

static void uart_write(void *chip, unsigned int offset, uint8_t value)
{
	struct uart *uart = chip;

	pthread_mutex_lock(&uart->lock);
	write_register(uart, offset, value);
	after_access(uart);
	pthread_mutex_unlock(&uart->lock);
}

static void uart_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, uart_read, uart_write);
}

/* Output that the guest has written is still to come out. */
static void uart_reset(void *device)
{
	struct uart *uart = device;

	uart->ier = uart->fcr = uart->lcr = uart->mcr = uart->scr = uart->dlm = 0;
	uart->dll = DIVISOR_115200;
	uart->line_errors = uart->modem_changes = 0;
	uart->thre_interrupt = uart->line_high = false;
	uart->input_count = 0;
	uart_host_room_made(uart);
}

static int number_or(const json_t *config, const char *key, int otherwise)
{
	const json_t *value = json_object_get(config, key);

	return json_is_integer(value) ? (int)json_integer_value(value) : otherwise;
}

static int uart_connect(struct uart *uart, const struct device_env *env, const json_t *config)
{
	int rc = irq_line_new(env->irq, (uint32_t)number_or(config, "gsi", MACHINE_GSI_COM1),
			      &uart->line);

	if (rc < 0)
		return rc;
	rc = io_bus_add(env->ports, uart->port, UART_PORTS, uart_access, uart);
	if (rc < 0)
		goto fail_line;
	rc = uart_host_open(uart, env->loop, number_or(config, "input_fd", -1),
			    number_or(config, "output_fd", -1));
	if (rc < 0)
		goto fail_port;
	return 0;

fail_port:
	io_bus_remove(env->ports, uart->port);
fail_line:
	irq_line_free(uart->line);
	return rc;
}

static int uart_create(const struct device_env *env, const json_t *config, void **device,
		       struct error *err)
{
	struct uart *uart = calloc(1, sizeof(*uart));
	int rc;

	if (!uart)
		return error_memory(err, "a serial port");
	pthread_mutex_init(&uart->lock, NULL);
	uart->ports = env->ports;
	uart->events = env->events;
	uart->context = env->context;
	uart->port = (uint16_t)number_or(config, "port", MACHINE_PORT_COM1);
	uart_reset(uart);
	rc = uart_connect(uart, env, config);
	if (rc < 0) {
		pthread_mutex_destroy(&uart->lock);
		free(uart);
		return error_host(err, -rc, "cannot make the serial port");
	}
	*device = uart;
	return 0;
}

static void uart_destroy(void *device)
{
	struct uart *uart = device;

	io_bus_remove(uart->ports, uart->port);
	uart_host_close(uart);
	if (uart->bytes_lost)
		uart->events->output_lost(uart->context, uart->bytes_lost, uart->output_error);
	irq_line_free(uart->line);
	pthread_mutex_destroy(&uart->lock);
	free(uart);
}

static void uart_save(void *device, struct state_writer *writer)
{
	struct uart *uart = device;
	uint8_t output[UART_OUTPUT_MAX];

	pthread_mutex_lock(&uart->lock);
	for (unsigned int i = 0; i < uart->output_count; i++)
		output[i] = uart->output[(uart->output_start + i) % UART_OUTPUT_MAX];
	state_put_u32(writer, "ier", uart->ier);
	state_put_u32(writer, "fcr", uart->fcr);
	state_put_u32(writer, "lcr", uart->lcr);
	state_put_u32(writer, "mcr", uart->mcr);
	state_put_u32(writer, "scr", uart->scr);
	state_put_u32(writer, "divisor", (uint32_t)uart->dlm << 8 | uart->dll);
	state_put_u32(writer, "line-errors", uart->line_errors);
	state_put_u32(writer, "modem-changes", uart->modem_changes);
	state_put_u32(writer, "thre-interrupt", uart->thre_interrupt);
	state_put_u32(writer, "interrupt-output", uart->line_high);
	state_put_bytes(writer, "input", uart->input, uart->input_count);
	state_put_bytes(writer, "output", output, uart->output_count);
	pthread_mutex_unlock(&uart->lock);
}

/* The registers as the tree has them, before any is used. */
struct uart_saved {
	uint32_t ier, fcr, lcr, mcr, scr, divisor, line_errors, modem_changes, thre;
	const uint8_t *input, *output;
	size_t input_size, output_size;
};

static int read_saved(const struct state_node *node, struct uart_saved *saved)
{
	const struct {
		const char *name;
		uint32_t *value;
		uint32_t valid; /* the bits that may be set */
	} fields[] = {
		{"ier", &saved->ier, IER_WRITABLE},
		{"fcr", &saved->fcr, FCR_KEPT},
		{"lcr", &saved->lcr, 0xff},
		{"mcr", &saved->mcr, MCR_WRITABLE},
		{"scr", &saved->scr, 0xff},
		{"divisor", &saved->divisor, 0xffff},
		{"line-errors", &saved->line_errors, LSR_OVERRUN},
		{"modem-changes", &saved->modem_changes, 0x0f},
		{"thre-interrupt", &saved->thre, 1},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		int rc = state_get_u32(node, fields[i].name, fields[i].value);

		if (rc < 0)
			return rc;
		if (*fields[i].value & ~fields[i].valid)
			return -EINVAL;
	}
	saved->input = state_find_bytes(node, "input", &saved->input_size);
	saved->output = state_find_bytes(node, "output", &saved->output_size);
	if (!saved->input || !saved->output)
		return -ENOENT;
	return saved->input_size > UART_FIFO_SIZE || saved->output_size > UART_OUTPUT_MAX ? -EINVAL
											  : 0;
}

static int uart_restore(void *device, const struct state_node *node)
{
	struct uart *uart = device;
	struct uart_saved saved;
	int rc = read_saved(node, &saved);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&uart->lock);
	uart->ier = (uint8_t)saved.ier;
	uart->fcr = (uint8_t)saved.fcr;
	uart->lcr = (uint8_t)saved.lcr;
	uart->mcr = (uint8_t)saved.mcr;
	uart->scr = (uint8_t)saved.scr;
	uart->dll = (uint8_t)saved.divisor;
	uart->dlm = (uint8_t)(saved.divisor >> 8);
	uart->line_errors = (uint8_t)saved.line_errors;
	uart->modem_changes = (uint8_t)saved.modem_changes;
	uart->thre_interrupt = saved.thre;
	memcpy(uart->input, saved.input, saved.input_size);
	uart->input_count = (unsigned int)saved.input_size;
	uart->output_count = 0;
	for (size_t i = 0; i < saved.output_size; i++)
		uart_host_transmit(uart, saved.output[i]);
	/* KVM hands an edge to its IOAPIC a moment later, so it may not be in the one that was
	 * saved.  One too many finds nothing to do; one too few would be the last. */
	uart->line_high = false;
	uart_update_interrupt(uart);
	pthread_mutex_unlock(&uart->lock);
	return 0;
}

static void uart_inspect(void *device, struct state_writer *writer)
{
	struct uart *uart = device;

	pthread_mutex_lock(&uart->lock);
	state_put_u64(writer, "bytes-in", uart->bytes_in);
	state_put_u64(writer, "bytes-out", uart->bytes_out);
	state_put_u64(writer, "bytes-lost", uart->bytes_lost);
	pthread_mutex_unlock(&uart->lock);
}

static void uart_quiesce(void *device)
{
	uart_host_flush(device);
}

const struct device_ops uart_device = {
	.name = "uart",
	.state_version = 1,
	.create = uart_create,
	.destroy = uart_destroy,
	.reset = uart_reset,
	.save = uart_save,
	.restore = uart_restore,
	.inspect = uart_inspect,
	.quiesce = uart_quiesce,
};
