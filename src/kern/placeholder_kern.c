typedef int kern_empty; /* removed with the first real file */
