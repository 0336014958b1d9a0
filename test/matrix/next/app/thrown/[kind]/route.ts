/** Answers that a route handler throws, a failure, and what runs after the response. */
import { notFound, redirect } from "next/navigation";
import { after } from "next/server";
import type { NextRequest } from "next/server";
import { idempotent } from "latchkey/fetch";
import { engine } from "@/lib/idempotency";

interface Context {
  readonly params: Promise<{ readonly kind: string }>;
}

let runs = 0;
let finished = 0;

async function answer(request: NextRequest, { params }: Context): Promise<Response> {
  const { kind } = await params;
  runs += 1;
  after(() => void (finished += 1));
  if (kind === "redirect") redirect(`/thanks?${request.nextUrl.searchParams.get("for")}`);
  if (kind === "missing") notFound();
  throw new Error("a failure");
}

export const POST = idempotent(engine, answer, { scope: "public" });

/** Counts what ran. */
export function GET(): Response {
  return Response.json({ runs, finished });
}
