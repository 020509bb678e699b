/** Hosts of the network that a cell may call. */
import { z } from 'zod';

/** `registry.npmjs.org`, `*.pythonhosted.org:443`, `localhost:5432`, as `config/schema.ts` reads them. */
export const hostsSchema = z.array(z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(65_535) }));
